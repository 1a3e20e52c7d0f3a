/*
 * extension.h
 *	  Where this extension is installed, and how SQL inside of it is run.
 */
#ifndef CONTRATOS_EXTENSION_H
#define CONTRATOS_EXTENSION_H

#include "postgres.h"

/* Version of this library; the control file's default_version. */
#define CONTRATOS_VERSION "1.0"

/*
 * Take AccessShareLock on the extension until the end of the transaction and
 * make sure that it is there.  First thing in each transaction of ours, so
 * that DROP EXTENSION cannot deadlock with a load.  42704 when it is not
 * installed in this database.
 */
extern Oid extension_lock(void);

/* The extension's schema; its name is quoted and in CurrentMemoryContext. */
extern Oid extension_schema(void);
extern char *extension_schema_name(void);

/* The version that is installed in this database, as its catalog says. */
extern char *extension_version(void);

/*
 * Whether that is this library's version.  When it is not, and `elevel` is not
 * 0, that is reported at this level (below ERROR) with what to do about it.
 */
extern bool extension_fits_library(int elevel);

/* One of the extension's own tables, such as "contratos_runs". */
extern Oid extension_relation(const char *name);

/* Who owns a relation, whichever it is. */
extern Oid extension_relation_owner(Oid relid);

/*
 * Open a level of settings with search_path 'pg_catalog, pg_temp', row_security
 * and debug_print_* off.  The caller closes it: AtEOXact_GUC(true, level), in
 * PG_FINALLY.
 */
extern int extension_pin_settings(void);

#endif /* CONTRATOS_EXTENSION_H */
