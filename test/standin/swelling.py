"""Answers larger than a stand-in could hold: a mark in the body stands for a text that is sent over and over.

A rule's {"swell": {"mark": m, "with": text, "times": n}} puts n times the text in the place of each m; 0 times: without
end, until the client has had enough.
"""
import itertools
import zlib

BLOCK_BYTES = 256 * 1024


def swollen(body, how):
    """The bytes of the body with its marks swollen, in blocks."""
    text = how["with"].encode("utf-8", "surrogatepass")
    many = max(BLOCK_BYTES // len(text), 1)
    block = text * many
    first, *others = body.split(how["mark"].encode("utf-8", "surrogatepass"))
    yield first
    for other in others:
        if not how["times"]:
            yield from itertools.repeat(block)
        for _ in range(how["times"] // many):
            yield block
        yield text * (how["times"] % many)
        yield other


def compressed(blocks):
    """The same, as gzip has it."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    for block in blocks:
        yield packer.compress(block)
    yield packer.flush()


def chunks(blocks):
    """The same, as chunks of an answer whose length nobody knows; without the last one."""
    for block in blocks:
        if block:
            yield b"%x\r\n%b\r\n" % (len(block), block)
