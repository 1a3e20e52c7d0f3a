/*
 * compat.h
 *	  The differences between PostgreSQL 15 to 18, and between libcurl's: the
 *	  only place that looks at PG_VERSION_NUM and LIBCURL_VERSION_NUM.
 *
 * Each is a function or macro named …_compat (or after what it stands for),
 * with the version in which things changed.
 */
#ifndef CONTRATOS_COMPAT_H
#define CONTRATOS_COMPAT_H

#include "postgres.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "nodes/execnodes.h"
#include "optimizer/pathnode.h"
#include "parser/parsetree.h"
#include "utils/regproc.h"
#include "utils/varlena.h"

/* 18 lets a module name itself and its version. */
#if PG_VERSION_NUM >= 180000
#define CONTRATOS_MODULE_MAGIC PG_MODULE_MAGIC_EXT(.name = "contratos", .version = "1.0")
#else
#define CONTRATOS_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/* 16 added an error context. */
static inline List *
qualified_name_list_compat(const char *name)
{
#if PG_VERSION_NUM >= 160000
	return stringToQualifiedNameList(name, NULL);
#else
	return stringToQualifiedNameList(name);
#endif
}

/* 17 added the list of restrictions, 18 the number of disabled nodes. */
static inline ForeignPath *
create_foreignscan_path_compat(PlannerInfo *root, RelOptInfo *rel, double rows, Cost startup, Cost total)
{
#if PG_VERSION_NUM >= 180000
	return create_foreignscan_path(root, rel, NULL, rows, 0, startup, total, NIL, NULL, NULL, NIL, NIL);
#elif PG_VERSION_NUM >= 170000
	return create_foreignscan_path(root, rel, NULL, rows, startup, total, NIL, NULL, NULL, NIL, NIL);
#else
	return create_foreignscan_path(root, rel, NULL, rows, startup, total, NIL, NULL, NULL, NIL);
#endif
}

/* The role a scan checks rights as; 16 moved it from the range table to the plan. */
static inline Oid
foreign_scan_user_compat(ForeignScanState *node)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;

#if PG_VERSION_NUM >= 160000
	return plan->checkAsUser;
#else
	return exec_rt_fetch(plan->scan.scanrelid, node->ss.ps.state)->checkAsUser;
#endif
}

#endif /* CONTRATOS_COMPAT_H */
