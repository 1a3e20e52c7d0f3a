/*
 * auth.c
 *	  Credentials → access token, kept in this backend.
 *
 * The identity of the file is checked before each use, so that a token never outlives
 * the file it came from; the file is read only when a new token is needed.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "auth/auth_internal.h"
#include "base/clock.h"
#include "base/failure.h"
#include "base/settings.h"
#include "http/http.h"

#define MIN_LEFT_MS (225 * 1000) /* a token that expires sooner is replaced */

/* More credentials files than one session uses at the same time. */
#define MAX_CACHED 8

typedef struct CachedToken
{
	char *file; /* or SETTINGS_METADATA; NULL: this entry is free */
	AuthFileId id; /* all zero for SETTINGS_METADATA */
	char *token;
	uint64 number; /* the token's number, see auth_token_number() */
	char *quota_project; /* or NULL */
	int64 expires_at; /* by clock_ms() */
	uint64 used; /* the count of uses at its last use */
} CachedToken;

/* In TopMemoryContext.  The scope is a constant, so it is not in the key. */
static CachedToken cache[MAX_CACHED];
static uint64 uses = 0;
static uint64 numbers = 0;

static void
free_token(CachedToken *cached)
{
	char *token = cached->token;
	char *file = cached->file;
	char *quota_project = cached->quota_project;

	memset(cached, 0, sizeof(*cached));
	if (token != NULL)
	{
		explicit_bzero(token, strlen(token));
		pfree(token);
	}
	if (file != NULL)
		pfree(file);
	if (quota_project != NULL)
		pfree(quota_project);
}

/* The token made from this file that can still be used, or NULL. */
static CachedToken *
find_token(const char *file, const AuthFileId *id, uint64 refused)
{
	CachedToken *found = NULL;

	for (CachedToken *c = cache; c < cache + MAX_CACHED; c++)
	{
		if (c->file == NULL || strcmp(c->file, file) != 0)
			continue;
		if (memcmp(&c->id, id, sizeof(*id)) == 0 && c->expires_at - clock_ms() >= MIN_LEFT_MS && c->number != refused)
			found = c;
		else
			free_token(c);
	}
	return found;
}

/* Keep a token, replacing the least recently used one if the cache is full. */
static CachedToken *
keep_token(const char *file, const AuthFileId *id, const AuthToken *token, const char *quota_project)
{
	CachedToken *place = cache;
	CachedToken kept = {.file = MemoryContextStrdup(TopMemoryContext, file),
						.token = MemoryContextStrdup(TopMemoryContext, token->text),
						.quota_project = quota_project ? MemoryContextStrdup(TopMemoryContext, quota_project) : NULL,
						.number = ++numbers,
						.expires_at = clock_ms() + token->life_s * 1000,
						.used = ++uses};

	for (CachedToken *c = cache; c < cache + MAX_CACHED; c++)
		if (c->used < place->used) /* 0 if free */
			place = c;
	free_token(place);
	*place = kept;
	memcpy(&place->id, id, sizeof(*id));
	return place;
}

static AuthAsker
make_asker(const AuthConfig *config, HttpClient *http)
{
	return (AuthAsker){
		.config = config, .http = http, .until = clock_ms() + config->timeout_ms, .scope = AUTH_SCOPE_BIGQUERY};
}

static char *
copy_of_text(const AuthSource *source, const char *field)
{
	const char *text = source->doc ? auth_source_text(source, field) : NULL;

	return text ? pstrdup(text) : NULL;
}

/* Request a token and keep it; NULL with *f set.  Secrets stay in the current context until it is deleted. */
static const char *
fetch_token(const AuthConfig *config, HttpClient *http, Failure *f)
{
	AuthAsker asker = make_asker(config, http);
	AuthSource source;
	AuthFileId id;
	AuthToken token;
	char *quota_project;

	if (!auth_source_open(config, &source, &id, f))
		return NULL;
	quota_project = copy_of_text(&source, "quota_project_id");
	if (!source.kind->fetch(&source, &asker, &token, f))
		return NULL;
	return keep_token(config->credentials_file, &id, &token, quota_project)->token;
}

const char *
auth_token(const AuthConfig *config, HttpClient *http, uint64 refused, Failure *f)
{
	MemoryContext scratch;
	MemoryContext caller;
	AuthFileId id = {0}; /* the metadata server has no file, and keeps this */
	CachedToken *cached;
	const char *token;

	if (strcmp(config->credentials_file, SETTINGS_METADATA) != 0 &&
		!auth_key_identify(config->credentials_file, &id, f))
		return NULL;
	cached = find_token(config->credentials_file, &id, refused);
	if (cached != NULL)
	{
		cached->used = ++uses;
		return cached->token;
	}

	scratch = AllocSetContextCreate(CurrentMemoryContext, "contratos token request", ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(scratch);
	token = fetch_token(config, http, f);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
	return token;
}

uint64
auth_token_number(const char *token)
{
	for (const CachedToken *c = cache; c < cache + MAX_CACHED; c++)
		if (c->file != NULL && c->token == token)
			return c->number;
	return 0;
}

const char *
auth_quota_project(const char *token)
{
	for (const CachedToken *c = cache; c < cache + MAX_CACHED; c++)
		if (c->file != NULL && c->token == token)
			return c->quota_project;
	return NULL;
}

/* The project that a file names, palloc'd, or NULL. */
static char *
project_named(const AuthSource *source)
{
	char *project = copy_of_text(source, "project_id");

	return project ? project : copy_of_text(source, "quota_project_id");
}

char *
auth_project(const AuthConfig *config, HttpClient *http, Failure *f)
{
	AuthAsker asker = make_asker(config, http);
	AuthSource source;
	AuthFileId id;
	char *project;

	/* a problem with the file matters more than the project it lacks */
	if (!auth_source_open(config, &source, &id, f))
		return NULL;
	memset(f, 0, sizeof(*f));
	if (source.kind == &auth_metadata)
		return auth_metadata_project(&asker, f);
	project = project_named(&source);
	auth_source_close(&source);
	return project;
}

/* Fill *facts, copied into `into`. */
static bool
inspect(const AuthConfig *config, MemoryContext into, AuthFacts *facts, Failure *f)
{
	AuthSource source;
	AuthFileId id;
	MemoryContext old;

	if (!auth_source_open(config, &source, &id, f) ||
		(source.kind->inspect != NULL && !source.kind->inspect(&source, f)))
		return false;
	old = MemoryContextSwitchTo(into);
	*facts = (AuthFacts){
		.kind = source.kind->name, .principal = source.kind->principal(&source), .project = project_named(&source)};
	MemoryContextSwitchTo(old);
	return true;
}

bool
auth_inspect(const AuthConfig *config, AuthFacts *facts, Failure *f)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(caller, "contratos credentials", ALLOCSET_DEFAULT_SIZES);
	bool ok;

	MemoryContextSwitchTo(scratch);
	ok = inspect(config, caller, facts, f);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
	return ok;
}
