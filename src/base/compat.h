/*
 * compat.h
 *	  Differences between the versions of PostgreSQL we support, each behind one
 *	  name.
 *
 * The only place for PG_VERSION_NUM (15 to 18); libcurl's are in http_compat.h.
 */
#ifndef CONTRATOS_COMPAT_H
#define CONTRATOS_COMPAT_H

#include "postgres.h"

#include "access/xact.h"
#include "commands/explain.h"
#if PG_VERSION_NUM >= 180000 /* split explain.h */
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif
#include "common/base64.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "nodes/execnodes.h"
#if PG_VERSION_NUM >= 160000
#include "nodes/miscnodes.h"
#endif
#include "optimizer/pathnode.h"
#include "parser/parsetree.h"
#include "storage/latch.h" /* 18: brings storage/waiteventset.h along */
#include "utils/memutils.h"
#include "utils/rangetypes.h"
#include "utils/resowner.h"
#include "utils/wait_event.h"

/* 18 has pg_noreturn, before the declaration, and no pg_attribute_noreturn() any more. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/*
 * 17 made wait event sets belong to a resource owner instead of a memory
 * context.  The caller frees the set in PG_FINALLY either way: outside a
 * transaction there is no owner, and before 17 its descriptor would leak.
 */
static inline WaitEventSet *
CreateWaitEventSet_compat(int nevents)
{
#if PG_VERSION_NUM >= 170000
	return CreateWaitEventSet(CurrentResourceOwner, nevents);
#else
	return CreateWaitEventSet(CurrentMemoryContext, nevents);
#endif
}

/* 17 lets extensions name what they wait for (the name shows in pg_stat_activity). */
static inline uint32
wait_event_compat(const char *name pg_attribute_unused())
{
#if PG_VERSION_NUM >= 170000
	return WaitEventExtensionNew(name);
#else
	return PG_WAIT_EXTENSION;
#endif
}

/* 18 takes const uint8 * where earlier versions take const char *. */
static inline int
pg_b64_encode_compat(const void *src, int len, char *dst, int dstlen)
{
#if PG_VERSION_NUM >= 180000
	return pg_b64_encode((const uint8 *) src, len, dst, dstlen);
#else
	return pg_b64_encode((const char *) src, len, dst, dstlen);
#endif
}

/* 18 lets a module name itself and its version. */
#if PG_VERSION_NUM >= 180000
#define CONTRATOS_MODULE_MAGIC PG_MODULE_MAGIC_EXT(.name = "contratos", .version = "1.0")
#else
#define CONTRATOS_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/*
 * A path of a base relation, which needs what its expressions take from others
 * (LATERAL) and nothing else.  17 added the list of restrictions, 18 the number
 * of disabled nodes.
 */
static inline ForeignPath *
create_foreignscan_path_compat(PlannerInfo *root, RelOptInfo *rel, double rows, Cost startup, Cost total)
{
#if PG_VERSION_NUM >= 180000
	return create_foreignscan_path(root, rel, NULL, rows, 0, startup, total, NIL, rel->lateral_relids, NULL, NIL, NIL);
#elif PG_VERSION_NUM >= 170000
	return create_foreignscan_path(root, rel, NULL, rows, startup, total, NIL, rel->lateral_relids, NULL, NIL, NIL);
#else
	return create_foreignscan_path(root, rel, NULL, rows, startup, total, NIL, rel->lateral_relids, NULL, NIL);
#endif
}

/* A path of an upper relation, with the local path below it.  The arguments changed as above. */
static inline ForeignPath *
create_foreign_upper_path_compat(PlannerInfo *root, RelOptInfo *rel, PathTarget *target, double rows, Cost startup,
								 Cost total, Path *outer_path, List *fdw_private)
{
#if PG_VERSION_NUM >= 180000
	return create_foreign_upper_path(root, rel, target, rows, 0, startup, total, NIL, outer_path, NIL, fdw_private);
#elif PG_VERSION_NUM >= 170000
	return create_foreign_upper_path(root, rel, target, rows, startup, total, NIL, outer_path, NIL, fdw_private);
#else
	return create_foreign_upper_path(root, rel, target, rows, startup, total, NIL, outer_path, fdw_private);
#endif
}

/* The role whose privileges a scan checks; 16 moved it from the range table to the plan. */
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

/* Before 17 a subtransaction cannot start while a plan has parallel workers, not even in the leader. */
static inline bool
can_start_subtransaction_compat(void)
{
#if PG_VERSION_NUM >= 170000
	return true;
#else
	return !IsInParallelMode();
#endif
}

/* 16 lets an input function report a bad value without throwing an error. */
static inline bool
has_soft_input_compat(void)
{
#if PG_VERSION_NUM >= 160000
	return true;
#else
	return false;
#endif
}

/* Call an input function softly; returns false with *reason if it rejects the text. */
static inline bool
input_softly_compat(FmgrInfo *function, char *text, Oid ioparam, int32 typmod, Datum *value, const char **reason)
{
#if PG_VERSION_NUM >= 160000
	ErrorSaveContext errors = {.type = T_ErrorSaveContext, .details_wanted = true};

	if (InputFunctionCallSafe(function, text, ioparam, typmod, (Node *) &errors, value))
		return true;
	*reason = errors.error_data->message;
	return false;
#else
	*value = InputFunctionCall(function, text, ioparam, typmod);
	*reason = NULL;
	return true;
#endif
}

/* 16 added an argument for the error that a range type's canonical function could report. */
static inline RangeType *
make_range_compat(TypeCacheEntry *type, RangeBound *lower, RangeBound *upper)
{
#if PG_VERSION_NUM >= 160000
	return make_range(type, lower, upper, false, NULL);
#else
	return make_range(type, lower, upper, false);
#endif
}

#endif /* CONTRATOS_COMPAT_H */
