"""tables.list and tables.get: what the API tells about tables."""
from errors import access_denied, not_found
from options import first_row, number, page_token
from pages import Answer

# The server's own choice when a request says no maxResults.
PAGE_TABLES = 50
EPOCH_MS = 1_700_000_000_000


def dataset_of(catalog, accounts, account, project, dataset, what):
    """The location of a dataset that may be read, or the error for `what` ("tables.list on dataset p:d")."""
    permission, on = what
    if project not in catalog.projects() | accounts.projects() or not accounts.may_use(account, project):
        kind, name = on.split(" ")
        raise access_denied(f"{kind.capitalize()} {name}: Permission bigquery.{permission} denied on {kind} {name} "
                            "(or it may not exist).")
    location = catalog.location(project, dataset)
    if location is None:
        raise not_found(f"Not found: Dataset {project}:{dataset}")
    return location


def partitioning(table):
    """timePartitioning, rangePartitioning and requirePartitionFilter, as far as the table has them."""
    fields, by = {}, table.partitioning
    if by and by.time:
        fields["timePartitioning"] = dict({"type": "DAY"}, **by.time)
        if table.require_filter:
            fields["timePartitioning"]["requirePartitionFilter"] = True
    if by and by.ranges:
        bounds = {name: str(value) for name, value in by.ranges["range"].items()}
        fields["rangePartitioning"] = dict(by.ranges, range=bounds)
    if by and table.require_filter:
        fields["requirePartitionFilter"] = True
    return fields


def with_attributes(fields, table):
    """What a test has put over the answer; null takes a field away."""
    fields.update(table.about.get("attributes") or {})
    return {key: value for key, value in fields.items() if value is not None}


def item(table):
    """The head of a table, as tables.list and tables.get both have it."""
    return {
        "kind": "bigquery#table",
        "id": f"{table.project}:{table.dataset}.{table.table}",
        "tableReference": {"projectId": table.project, "datasetId": table.dataset, "tableId": table.table},
        "type": table.about.get("type") or "TABLE",
        "labels": table.about.get("labels"),
        "creationTime": str(EPOCH_MS),
        **partitioning(table),
    }


def resource(table, location):
    """A table as tables.get has it."""
    is_stored = item(table)["type"] not in ("VIEW", "EXTERNAL")
    size = table.bytes_of(range(len(table.fields))) if is_stored else 0
    return with_attributes(dict(
        item(table),
        etag="c3RhbmRpbg==",
        description=table.about.get("description"),
        schema={"fields": [declared(*pair) for pair in zip(table.declared, table.fields)]},
        numBytes=str(size), numLongTermBytes="0", numRows=str(table.row_count() if is_stored else 0),
        lastModifiedTime=str(table.about.get("last_modified") or EPOCH_MS + table.version),
        location=location,
        view={"query": "SELECT 1", "useLegacySql": False} if item(table)["type"] == "VIEW" else None,
    ), table)


def declared(field, normal):
    """A field as it was declared, but for the name of its type: the service adds no mode."""
    told = dict(field, type=normal["type"])
    for key in ("fields", "rangeElementType"):
        if key in normal:
            told[key] = normal[key]
    if "fields" in normal:
        told["fields"] = [declared(*pair) for pair in zip(field["fields"], normal["fields"])]
    return told


class Listing:
    """The two calls, over the tables and the accounts of one stand-in."""

    def __init__(self, catalog, accounts):
        self.catalog, self.accounts = catalog, accounts

    def tables_list(self, account, options, project, dataset):
        dataset_of(self.catalog, self.accounts, account, project, dataset,
                   ("tables.list", f"dataset {project}:{dataset}"))
        tables = self.catalog.tables_of(project, dataset)
        start = first_row(options)
        page = tables[start : start + number(options, "maxresults", PAGE_TABLES)]
        fields = {"kind": "bigquery#tableList", "etag": "c3RhbmRpbg=="}
        if start + len(page) < len(tables):
            fields["nextPageToken"] = page_token(start + len(page))
        if page:
            fields["tables"] = [with_attributes(item(table), table) for table in page]
        return Answer(dict(fields, totalItems=len(tables)))

    def table_get(self, account, options, project, dataset, name):
        location = dataset_of(self.catalog, self.accounts, account, project, dataset,
                              ("tables.get", f"table {project}:{dataset}.{name}"))
        table = self.catalog.get(f"{project}.{dataset}.{name}")
        if table is None:
            raise not_found(f"Not found: Table {project}:{dataset}.{name}")
        return Answer(resource(table, location))
