/*
 * server.c
 *		Loaded into a server whose extension is built with AddressSanitizer:
 *		its memory contexts take every chunk from malloc(), and it starts.
 *
 * PostgreSQL takes blocks from malloc() and cuts them into chunks.  The
 * sanitizer knows of the blocks only, so that it would see neither a byte
 * written behind a chunk nor one read after pfree(): in the extension nearly
 * all memory is of this kind.  Here the functions of AllocSet are exchanged
 * for ones that call malloc() for each chunk; each then has red zones around
 * it, and is kept from reuse for a while once it is free.
 *
 * From PostgreSQL 16 on the header of a chunk is another one, and its contexts
 * stay as they are.
 */
#define _GNU_SOURCE
#include "postgres.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include "nodes/memnodes.h"
#include "utils/memutils.h"

static char undefined_options[1024];

/*
 * UBSan reads its options when it has something to say, and knows no log_path
 * beside AddressSanitizer.  By then a server has written its title over the
 * environment, where it would look for them.
 */
const char *
__ubsan_default_options(void)
{
	return undefined_options;
}

static void
report_undefined_to(const char *path)
{
	void *library = dlopen("libubsan.so.1", RTLD_NOW | RTLD_NOLOAD);
	void (*set_path)(const char *) = library ? dlsym(library, "__sanitizer_set_report_path") : NULL;

	if (set_path != NULL)
		set_path(path);
}

__attribute__((constructor)) static void
begin(void)
{
	const char *options = getenv("UBSAN_OPTIONS");
	const char *path = getenv("SANITIZERS_REPORTS");

	snprintf(undefined_options, sizeof(undefined_options), "%s", options ? options : "");
	if (path != NULL)
		report_undefined_to(path);
	/* what a server calls (archive_command, ...) runs without all this */
	unsetenv("LD_PRELOAD");
}

#if PG_VERSION_NUM < 160000

/* What is before a chunk; PostgreSQL expects the context just before it. */
typedef struct Chunk
{
	struct Chunk *previous;
	struct Chunk *next;
	Size size; /* with OURS */
	MemoryContext context;
} Chunk;

/* no chunk of AllocSet is so large */
#define OURS ((Size) 1 << 63)

/* The chunks of a context, in a ring; in a hash table of contexts. */
typedef struct Ring
{
	Chunk head;
	struct Ring *next;
} Ring;

#define RINGS 4096

static Ring *rings[RINGS];
static MemoryContextMethods methods; /* AllocSet's own */

static Ring **
ring_of(MemoryContext context)
{
	Ring **ring = &rings[((uintptr_t) context >> 6) % RINGS];

	while (*ring != NULL && (*ring)->head.context != context)
		ring = &(*ring)->next;
	return ring;
}

static Chunk *
chunk_of(void *pointer)
{
	return (Chunk *) pointer - 1;
}

static bool
is_ours(void *pointer)
{
	return (chunk_of(pointer)->size & OURS) != 0;
}

static void *
chunk_alloc(MemoryContext context, Size size)
{
	Ring **ring = ring_of(context);
	Chunk *chunk;

	if (*ring == NULL)
	{
		*ring = calloc(1, sizeof(Ring));
		if (*ring == NULL)
			return NULL;
		(*ring)->head.previous = (*ring)->head.next = &(*ring)->head;
		(*ring)->head.context = context;
	}
	chunk = malloc(sizeof(Chunk) + size);
	if (chunk == NULL)
		return NULL;
	chunk->previous = &(*ring)->head;
	chunk->next = chunk->previous->next;
	chunk->previous->next = chunk->next->previous = chunk;
	chunk->size = size | OURS;
	chunk->context = context;
	context->mem_allocated += sizeof(Chunk) + size;
	return chunk + 1;
}

static void
chunk_free(MemoryContext context, void *pointer)
{
	Chunk *chunk = chunk_of(pointer);

	if (!is_ours(pointer))
	{
		methods.free_p(context, pointer);
		return;
	}
	chunk->previous->next = chunk->next;
	chunk->next->previous = chunk->previous;
	context->mem_allocated -= sizeof(Chunk) + (chunk->size & ~OURS);
	free(chunk);
}

static void *
chunk_realloc(MemoryContext context, void *pointer, Size size)
{
	void *copy;
	Size old;

	if (!is_ours(pointer))
		return methods.realloc(context, pointer, size);
	copy = chunk_alloc(context, size);
	if (copy == NULL)
		return NULL;
	old = chunk_of(pointer)->size & ~OURS;
	memcpy(copy, pointer, Min(old, size));
	chunk_free(context, pointer);
	return copy;
}

static void
free_chunks(MemoryContext context)
{
	Ring **place = ring_of(context);
	Ring *ring = *place;

	if (ring == NULL)
		return;
	while (ring->head.next != &ring->head)
		chunk_free(context, ring->head.next + 1);
	*place = ring->next;
	free(ring);
}

static void
context_reset(MemoryContext context)
{
	free_chunks(context);
	methods.reset(context);
}

static void
context_delete(MemoryContext context)
{
	free_chunks(context);
	methods.delete_context(context);
}

static Size
chunk_space(MemoryContext context, void *pointer)
{
	if (!is_ours(pointer))
		return methods.get_chunk_space(context, pointer);
	return sizeof(Chunk) + (chunk_of(pointer)->size & ~OURS);
}

/* As AllocSet's, each chunk being a block. */
static void
context_stats(MemoryContext context, MemoryStatsPrintFunc print, void *arg, MemoryContextCounters *totals,
			  bool print_to_stderr)
{
	MemoryContextCounters sum = {0};
	Ring *ring = *ring_of(context);

	methods.stats(context, NULL, NULL, &sum, print_to_stderr);
	for (Chunk *chunk = ring ? ring->head.next : NULL; chunk != NULL && chunk != &ring->head; chunk = chunk->next)
	{
		sum.nblocks++;
		sum.totalspace += sizeof(Chunk) + (chunk->size & ~OURS);
	}
	if (print != NULL)
	{
		char text[200];

		snprintf(text, sizeof(text), "%zu total in %zu blocks; %zu free (%zu chunks); %zu used", sum.totalspace,
				 sum.nblocks, sum.freespace, sum.freechunks, sum.totalspace - sum.freespace);
		print(context, arg, text, print_to_stderr);
	}
	if (totals != NULL)
	{
		totals->nblocks += sum.nblocks;
		totals->freechunks += sum.freechunks;
		totals->totalspace += sum.totalspace;
		totals->freespace += sum.freespace;
	}
}

static void
take_contexts(void)
{
	MemoryContext *top = dlsym(RTLD_DEFAULT, "TopMemoryContext");
	MemoryContextMethods *own;
	uintptr_t page = sysconf(_SC_PAGESIZE);
	uintptr_t from;

	if (top == NULL || *top == NULL || methods.alloc != NULL)
		return;
	own = (MemoryContextMethods *) (*top)->methods;
	from = (uintptr_t) own / page * page;
	if (mprotect((void *) from, (uintptr_t) (own + 1) - from, PROT_READ | PROT_WRITE) != 0)
	{
		perror("mprotect");
		abort();
	}
	methods = *own;
	own->alloc = chunk_alloc;
	own->free_p = chunk_free;
	own->realloc = chunk_realloc;
	own->reset = context_reset;
	own->delete_context = context_delete;
	own->get_chunk_space = chunk_space;
	own->stats = context_stats;
}

#else

static void
take_contexts(void)
{
}

#endif

/*
 * main() calls this once it has memory contexts.  Under the sanitizer the one
 * of the C library never returns there; no test needs translated messages.
 */
char *
bindtextdomain(const char *domain, const char *folder)
{
	take_contexts();
	return (char *) folder;
}
