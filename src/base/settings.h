/*
 * settings.h
 *	  All custom settings (GUCs), and the current time.
 */
#ifndef CONTRATOS_SETTINGS_H
#define CONTRATOS_SETTINGS_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

/* SUSET: connection and cost; '' if not set */
extern char *settings_credentials_file;
extern char *settings_project;
extern char *settings_location;
extern char *settings_endpoint;
extern char *settings_ca_file;
extern char *settings_proxy;
extern int settings_max_bytes_billed; /* MB; 0: no cap */
extern int64 settings_bytes_per_day(void); /* for a source's loads and comparisons in a UTC day; 0: no cap */
extern int64 settings_bytes_per_day_total(void); /* the same for all sources of the database */

/* USERSET: tuning */
extern int settings_connect_timeout; /* ms */
extern int settings_request_timeout; /* ms, one request with its repetitions */
extern int settings_job_timeout; /* ms */
extern int settings_page_rows;
extern int settings_parallel_pages;
extern int settings_min_parallel_load_size; /* MB; -1: never */

/* SIGHUP: the worker */
extern char *settings_databases; /* as written; see settings_database_names() */
extern char *settings_role; /* '': the bootstrap superuser */
extern int settings_retries; /* attempts of a day after the first */
extern int settings_retry_delay; /* ms */
extern int settings_lock_timeout; /* ms */
extern int settings_history_days;

/* Share of PostgreSQL's NOTIFY queue above which nothing is notified; hidden, for tests */
extern double settings_notify_limit;

#define SETTINGS_DEFAULT_ENDPOINT "https://bigquery.googleapis.com"
#define SETTINGS_DEFAULT_LOCATION "US"

/* Instead of a credentials file: the service account of the machine. */
#define SETTINGS_METADATA "metadata"

/* Ranges, the same for the server and table options of those names */
#define SETTINGS_MIN_TIMEOUT 100 /* ms */
#define SETTINGS_MAX_CONNECT_TIMEOUT (10 * 60 * 1000)
#define SETTINGS_MAX_REQUEST_TIMEOUT (60 * 60 * 1000)
#define SETTINGS_MAX_JOB_TIMEOUT (24 * 60 * 60 * 1000)
#define SETTINGS_MAX_PAGE_ROWS 1000000
#define SETTINGS_MAX_PARALLEL_PAGES 16
#define SETTINGS_MAX_INTERVAL (24 * 60 * 60 * 1000) /* ms */

/*
 * The problem with the form of a value, as a sentence for errdetail, or NULL; the
 * caller judges ''.  The same for settings and options.
 */
extern const char *settings_path_problem(const char *path);
extern const char *settings_credentials_problem(const char *path);
extern const char *settings_endpoint_problem(const char *url);
extern const char *settings_proxy_problem(const char *url);
extern const char *settings_project_problem(const char *project);
extern const char *settings_location_problem(const char *location);

/*
 * The names in contratos.databases (char *), each once, in the order of the setting.
 * The list and the names are in CurrentMemoryContext; needs no transaction.
 */
extern List *settings_database_names(void);

/*
 * Whether a database of that name (and datistemplate) gets no worker, whatever
 * contratos.databases says: templates exist to be copied, and CREATE DATABASE fails
 * while a worker is connected to its template.
 */
extern bool settings_refuse_template(const char *name, bool is_template);

/* Define the settings; called once by _PG_init. */
extern void settings_define(void);

/*
 * Pin the settings that would end a transaction or the process, above all time limits,
 * in our own processes.  Call it before connecting: connecting takes a transaction,
 * too, and afterwards the values of a database or role no longer count.
 */
extern void settings_pin(void);

/* The same for those that no ALTER DATABASE or ALTER ROLE may change for a process that writes; once it is connected. */
extern void settings_pin_session(void);

/*
 * The current time, or contratos.now if that is set (22007 or 22008 when it is not a
 * timestamp).  Days, schedule and ledger use it; tokens and time limits use the real
 * clock.
 */
extern TimestampTz settings_now(void);

#endif /* CONTRATOS_SETTINGS_H */
