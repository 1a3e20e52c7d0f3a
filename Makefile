# contratos: PGXS build.  `make PG_CONFIG=/path/to/pg_config install`
EXTENSION = contratos
DATA = extension/contratos--1.0.sql
MODULE_big = contratos
OBJS = \
	src/contratos.o \
	src/contratos_status.o \
	src/contratos_check.o \
	src/check.o \
	src/check_connection.o \
	src/check_remote.o \
	src/check_server.o \
	src/check_source.o \
	src/check_target.o \
	src/contratos_verify.o \
	src/setup.o \
	src/setup_adopt.o \
	src/setup_event.o \
	src/worker.o \
	src/worker_housekeeping.o \
	src/launcher.o \
	src/attempt.o \
	src/attempt_bury.o \
	src/attempt_fail.o \
	src/attempt_log.o \
	src/run.o \
	src/verdict.o \
	src/run_estimate.o \
	src/run_queue.o \
	src/run_totals.o \
	src/run_verify.o \
	src/verify.o \
	src/verify_days.o \
	src/verify_drift.o \
	src/load.o \
	src/load_drift.o \
	src/load_fit.o \
	src/load_hook.o \
	src/load_lock.o \
	src/load_measure.o \
	src/load_plan.o \
	src/load_register.o \
	src/load_replace.o \
	src/load_scope.o \
	src/load_target.o \
	src/ledger.o \
	src/ledger_claim.o \
	src/ledger_days.o \
	src/ledger_next.o \
	src/ledger_gaps.o \
	src/ledger_housekeeping.o \
	src/ledger_queue.o \
	src/ledger_statement.o \
	src/ledger_success.o \
	src/ledger_worker.o \
	src/progress.o \
	src/progress_text.o \
	src/schedule.o \
	src/schedule_due.o \
	src/fdw.o \
	src/fdw_modify.o \
	src/fdw_import.o \
	src/fdw_import_command.o \
	src/fdw_import_names.o \
	src/scan.o \
	src/scan_adopt.o \
	src/scan_conditions.o \
	src/scan_check.o \
	src/pushdown.o \
	src/pushdown_constant.o \
	src/pushdown_find.o \
	src/pushdown_value.o \
	src/fingerprint.o \
	src/deparse.o \
	src/options.o \
	src/options_connection.o \
	src/options_validate.o \
	src/reader.o \
	src/reader_queue.o \
	src/reader_beside.o \
	src/reader_tuple.o \
	src/stream.o \
	src/stream_window.o \
	src/values.o \
	src/values_simple.o \
	src/values_text.o \
	src/values_number.o \
	src/values_time.o \
	src/values_interval.o \
	src/values_bytes.o \
	src/values_guard.o \
	src/values_domain.o \
	src/values_enum.o \
	src/values_nested.o \
	src/values_nested_scalar.o \
	src/values_json.o \
	src/values_json_text.o \
	src/values_array.o \
	src/values_range.o \
	src/values_numeric.o \
	src/values_param.o \
	src/bigquery.o \
	src/bigquery_wait.o \
	src/bigquery_catalog.o \
	src/message.o \
	src/message_schema.o \
	src/message_catalog.o \
	src/request.o \
	src/request_reason.o \
	src/rows.o \
	src/rows_grammar.o \
	src/rows_token.o \
	src/rows_cell.o \
	src/rows_json.o \
	src/auth.o \
	src/auth_ask.o \
	src/auth_external.o \
	src/auth_impersonate.o \
	src/auth_key.o \
	src/auth_metadata.o \
	src/auth_service_account.o \
	src/auth_source.o \
	src/auth_subject.o \
	src/auth_user.o \
	src/jwt.o \
	src/names.o \
	src/digest.o \
	src/json.o \
	src/http.o \
	src/http_wait.o \
	src/http_setup.o \
	src/http_error.o \
	src/http_url.o \
	src/http_log.o \
	src/wake.o \
	src/statement.o \
	src/notify.o \
	src/trust.o \
	src/extension.o \
	src/settings.o \
	src/settings_looks.o \
	src/settings_pin.o \
	src/failure.o

PKG_CONFIG ?= pkg-config
LIBRARIES = libcurl jansson openssl
PG_CPPFLAGS = $(shell $(PKG_CONFIG) --cflags $(LIBRARIES))
# C99 declares at first use; Debian builds PostgreSQL with a warning against it
PG_CFLAGS = -Wno-declaration-after-statement
SHLIB_LINK = $(shell $(PKG_CONFIG) --libs $(LIBRARIES)) -Wl,--version-script=exports.map

# What needs no network; `make installcheck` runs against any server.
REGRESS = setup options arguments queue plans
REGRESS_OPTS = --inputdir=. --outputdir=.

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# PGXS follows no headers: any of them rebuilds all, which takes seconds
$(OBJS): $(wildcard src/*.h) Makefile
$(shlib): exports.map Makefile

.PHONY: format lint
format:
	script/format
lint:
	script/lint
