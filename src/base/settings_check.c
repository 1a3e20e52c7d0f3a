/*
 * settings_check.c
 *	  Checks of the form of a value: of settings, and of the options with the same
 *	  names.
 */
#include "postgres.h"

#include "base/settings.h"

/* Whether text has a blank, a control character or a byte from `forbidden`. */
static bool
has_any_of(const char *text, const char *forbidden)
{
	for (const char *p = text; *p; p++)
	{
		if ((unsigned char) *p <= ' ' || *p == 0x7f || strchr(forbidden, *p))
			return true;
	}
	return false;
}

/* Whether text consists of ASCII letters, digits and bytes from `others`. */
static bool
is_made_of(const char *text, const char *others)
{
	for (const char *p = text; *p; p++)
	{
		bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9');

		if (!plain && !strchr(others, *p))
			return false;
	}
	return true;
}

/* The rest of url after the first of `schemes` that it starts with, or NULL. */
static const char *
after_scheme(const char *url, const char *const *schemes)
{
	for (; *schemes; schemes++)
	{
		size_t len = strlen(*schemes);

		if (pg_strncasecmp(url, *schemes, len) == 0 && url[len] != '\0')
			return url + len;
	}
	return NULL;
}

const char *
settings_path_problem(const char *path)
{
	if (!is_absolute_path(path))
		return "A file is named by its absolute path.";
	if (strlen(path) >= MAXPGPATH)
		return "The path is too long.";
	return NULL;
}

const char *
settings_credentials_problem(const char *path)
{
	if (strcmp(path, SETTINGS_METADATA) == 0)
		return NULL;
	if (!is_absolute_path(path))
		return "A file is named by its absolute path; the word " SETTINGS_METADATA
			   " stands for the service account of a machine on Google Cloud.";
	return settings_path_problem(path);
}

const char *
settings_endpoint_problem(const char *url)
{
	static const char *const schemes[] = {"https://", "http://", NULL};
	const char *rest = after_scheme(url, schemes);

	if (rest == NULL)
		return "An endpoint is a URL that starts with https:// (or, to this machine only, http://).";
	if (has_any_of(rest, "?#@\"<>\\^`{|}"))
		return "An endpoint has a host, and optionally a port and a path: no user, query, fragment or blank.";
	return NULL;
}

/* A password in a proxy's URL would be a secret in a setting, so none is accepted. */
const char *
settings_proxy_problem(const char *url)
{
	static const char *const schemes[] = {"http://", "https://", "socks5://", "socks5h://", NULL};
	const char *rest = after_scheme(url, schemes);

	if (rest == NULL)
		return "A proxy is a URL that starts with http://, https://, socks5:// or socks5h://.";
	if (has_any_of(rest, "?#@\"<>\\^`{|}"))
		return "A proxy has a host, and optionally a port: no user or password, query, fragment or blank.";
	return NULL;
}

/* Old projects have a domain: "example.com:project". */
const char *
settings_project_problem(const char *project)
{
	const char *colon = strchr(project, ':');
	const char *name = colon ? colon + 1 : project;

	if (strlen(project) > 255)
		return "The project id is too long.";
	if (colon == project || !is_made_of(project, ":.-_") || *name == '\0' || !is_made_of(name, "-_"))
		return "A project id consists of letters, digits and hyphens, optionally with a domain in front "
			   "(\"example.com:project\").";
	return NULL;
}

const char *
settings_location_problem(const char *location)
{
	if (strlen(location) > 63 || !is_made_of(location, "-"))
		return "A location is a name like US, EU or southamerica-east1.";
	return NULL;
}
