/*
 * settings.h
 *	  Every GUC of ours, and what "now" is.
 */
#ifndef CONTRATOS_SETTINGS_H
#define CONTRATOS_SETTINGS_H

#include "postgres.h"
#include "datatype/timestamp.h"

/* SUSET: connection and cost; '' where there is none */
extern char *contratos_credentials_file;
extern char *contratos_project;
extern char *contratos_location;
extern char *contratos_endpoint;
extern char *contratos_ca_file;
extern char *contratos_proxy;
extern int contratos_max_bytes_billed; /* MB; 0: no cap */

/* USERSET: tuning */
extern int contratos_connect_timeout; /* ms */
extern int contratos_request_timeout; /* ms, one request with its repetitions */
extern int contratos_job_timeout; /* ms */
extern int contratos_page_rows;

/* Define the settings; called once by _PG_init. */
extern void settings_define(void);

/*
 * The current time, or what contratos.now says in its place.  Not for
 * timestamps in the ledger or tokens: those follow the real clock.
 */
extern TimestampTz settings_now(void);

#endif /* CONTRATOS_SETTINGS_H */
