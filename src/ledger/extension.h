/*
 * extension.h
 *	  Where this extension is installed, and how its own SQL is run.
 */
#ifndef CONTRATOS_EXTENSION_H
#define CONTRATOS_EXTENSION_H

#include "postgres.h"

/* Version of this library; the control file's default_version. */
#define CONTRATOS_VERSION "1.0"

/*
 * Take AccessShareLock on the extension until the end of the transaction and make
 * sure that it exists.  Every transaction of this extension begins with this call,
 * so that DROP EXTENSION cannot deadlock with a load.  42704 when it is not
 * installed in this database.
 */
extern Oid extension_lock(void);

/*
 * The same for a function that a user calls, with a WARNING, one in each statement,
 * when the extension is not of this library's version.
 */
extern void extension_lock_for_call(void);

/* As extension_lock(), but InvalidOid when it is not installed. */
extern Oid extension_try_lock(void);

/* The extension's schema; its name is quoted and in CurrentMemoryContext. */
extern Oid extension_schema(void);
extern char *extension_schema_name(void);

/* The version that is installed in this database, from the catalog. */
extern char *extension_version(void);

/*
 * Whether that is this library's version.  If it is not, and `elevel` is not 0,
 * this is reported at that level (below ERROR) with what to do about it.
 */
extern bool extension_fits_library(int elevel);

/* One of the extension's own tables, such as "contratos_runs". */
extern Oid extension_relation(const char *name);

/* The owner of any relation. */
extern Oid extension_relation_owner(Oid relid);

/*
 * Open a GUC nest level with search_path 'pg_catalog, pg_temp', row_security, jit
 * and debug_print_* off.  The caller closes it: AtEOXact_GUC(true, level), in
 * PG_FINALLY.
 */
extern int extension_pin_settings(void);

#endif /* CONTRATOS_EXTENSION_H */
