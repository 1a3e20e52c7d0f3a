"""The query options of a request for a page: numbers, page tokens, how timestamps are written."""
import base64
import re

from errors import invalid


def number(options, name, default):
    """A number among the query options; the service does not read 1e5."""
    text = options.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"\d{1,18}", text):
        raise invalid(f"Invalid value at '{name}' (TYPE_UINT32), \"{text}\"")
    return int(text)


def page_token(row):
    return base64.urlsafe_b64encode(b"standin:%d" % row).decode().rstrip("=")


def first_row(options):
    token = options.get("pagetoken")
    if token is None:
        return number(options, "startindex", 0)
    if "startindex" in options:
        raise invalid("Cannot specify both startIndex and pageToken")
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
        return int(re.fullmatch(r"standin:(\d+)", text).group(1))
    except (ValueError, AttributeError):
        raise invalid("Invalid value for: pageToken is not a valid value") from None


def timestamp_format(options):
    """Which way timestamps are written: floats, unless the request says otherwise."""
    text = options.get("formatoptions.timestampoutputformat")
    wants_int = options.get("formatoptions.useint64timestamp", "false").lower() == "true"
    if text and wants_int:
        raise invalid("Cannot specify both use_int64_timestamp and timestamp_output_format")
    if text and text not in ("FLOAT64", "INT64", "ISO8601_STRING"):
        raise invalid(f'Invalid value at \'format_options.timestamp_output_format\', "{text}"')
    return text or ("INT64" if wants_int else "FLOAT64")
