/*
 * mirror.h
 *	  A source for another BigQuery table, created in one call.
 */
#ifndef CONTRATOS_MIRROR_H
#define CONTRATOS_MIRROR_H

#include "postgres.h"

#include "call/run.h"

/* The arguments of contratos_mirror(). */
typedef struct MirrorRequest
{
	const char *remote; /* "project.dataset.table" */
	const char *target; /* a table's name as in SQL; NULL: that of BigQuery's table */
	const char *timestamp_column; /* NULL: the partition column, unless snapshot */
	bool snapshot;
	bool enabled;
	const char *server;
	const char *name; /* of the source; NULL: the target's name without its schema */
} MirrorRequest;

/* The created source. */
typedef struct Mirror
{
	char *source;
	char *remote_table; /* schema.table, quoted where needed */
	char *target_table;
	const char *timestamp_column; /* NULL: a full-table source */
	RunEstimate estimate; /* of a load of yesterday */
} Mirror;

/*
 * Import the foreign table, create the target with its index, register the source and
 * estimate the cost of a day; all as the current user, in CurrentMemoryContext.
 * Nothing is loaded.  42710 when a name is taken, naming the argument that avoids it;
 * 22023 when the column that cuts days is not known, with the candidates; 42501 when a
 * privilege on schema or server is missing; the errors of IMPORT FOREIGN SCHEMA and of
 * an estimate.
 */
extern Mirror *mirror_create(const MirrorRequest *request);

#endif /* CONTRATOS_MIRROR_H */
