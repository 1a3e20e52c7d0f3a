"""Hold deploy/terraform against the provider's schema, without Terraform.

    check.py MODULE SCHEMA

SCHEMA is the folder lib of the npm package @cdktf/provider-google, which is
generated from the schema of the provider: its typings name each argument, and
say which ones are required.  A TAP line per check; then the module is broken
in one place at a time, and the checks must say so.
"""
import pathlib
import re
import sys
import tempfile

import hcl2

META = {"count", "for_each", "depends_on", "provider", "lifecycle"}
ROLES = {"roles/bigquery.jobUser", "roles/bigquery.dataViewer", "roles/iam.workloadIdentityUser"}

# what is broken -> file, text, what stands there instead, what must be said
MUTATIONS = {
    "an argument that does not exist": ("main.tf", "account_id   =", "account_name =", r"google_service_account\.contratos: no argument account_name"),
    "a required argument that is missing": ("main.tf", "  role    = \"roles/bigquery.jobUser\"\n", "", r"google_project_iam_member\.job_user: role is required"),
    "an argument of a block that does not exist": ("main.tf", "issuer_uri        =", "issuer            =", r"oidc\.oidc: no argument issuer"),
    "a required argument of a block that is missing": ("main.tf", "    threshold_percent = 0.5\n", "", r"threshold_rules: threshold_percent is required"),
    "a required block that is missing": ("main.tf", "  amount {", "  budget_filter {", r"bigquery: amount is required"),
    "a dynamic block that does not exist": ("main.tf", 'dynamic "all_updates_rule"', 'dynamic "all_updates"', r"no argument all_updates"),
    "an argument of a dynamic block that does not exist": ("main.tf", "      monitoring_notification_channels", "      channels", r"all_updates_rule: no argument channels"),
    "an argument that is written as a block": ("main.tf", '  attribute_mapping                  = { "google.subject" = "assertion.sub" }', "  attribute_mapping {\n  }", r"attribute_mapping is not a block"),
    "a resource that does not exist": ("main.tf", 'resource "google_service_account" ', 'resource "google_service_accounts" ', r"no resource google_service_accounts"),
    "an attribute that does not exist": ("outputs.tf", "google_service_account.contratos.email\n", "google_service_account.contratos.mail\n", r"google_service_account\.contratos has no attribute mail"),
    "a reference to nothing": ("outputs.tf", "google_service_account.contratos.email\n", "google_service_account.other.email\n", r"google_service_account\.other is not declared"),
    "a variable that is not declared": ("main.tf", "var.pool_id", "var.pool", r"var\.pool is not declared"),
    "a variable that nothing uses": ("variables.tf", 'variable "pool_id"', 'variable "pool_name"', r"variable pool_name is not used"),
    "a variable without a description": ("variables.tf", '  description = "Name of the service account, before the @"\n', "", r"variable account_id has no description"),
    "a variable that the README does not have": ("README.md", "| `budget_units` |", "| `budget` |", r"README\.md: no row for variable budget_units"),
    "a default that the README has otherwise": ("variables.tf", "default     = 10\n", "default     = 20\n", r"README\.md: the default of budget_units is 20, not 10"),
    "a role that is not needed": ("main.tf", "roles/bigquery.jobUser", "roles/bigquery.admin", r"roles/bigquery\.admin is more than needed"),
}


def camel(name):
    return re.sub(r"_([a-z0-9])", lambda m: m.group(1).upper(), name)


def snake(name):
    return re.sub(r"([A-Z])", lambda m: "_" + m.group(1).lower(), name)


class Typings:
    """A resource: its interfaces, as name -> {argument: (required, type)}, and its attributes."""

    def __init__(self, path):
        text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.S)
        self.interfaces = {m.group(1): self.arguments(text, m.end()) for m in re.finditer(r"export interface (\w+)[^{]*\{", text)}
        self.config = next(name for name in self.interfaces if name.endswith("Config"))
        resource = text[text.index("static readonly tfResourceType"):]
        self.type = re.search(r'tfResourceType = "(\w+)"', resource).group(1)
        self.attributes = {snake(name) for name in re.findall(r"^    get (\w+)\(\)", resource, re.M) if not name.endswith("Input")}

    @staticmethod
    def arguments(text, start):
        depth, end = 1, start
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        body = re.sub(r"\{[^{}]*\}", "map", text[start:end - 1])
        return {m.group(1): (not m.group(2), m.group(3)) for m in re.finditer(r"readonly (\w+)(\??): ([^;]+);", body)}


class Module:
    def __init__(self, folder, schema):
        self.schema, self.complaints = schema, []
        self.files = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir()) if path.suffix in (".tf", ".md")}
        parsed = [hcl2.loads(text) for name, text in self.files.items() if name.endswith(".tf")]
        self.blocks = {kind: [b for file in parsed for b in file.get(kind, [])] for kind in ("resource", "data", "variable", "output")}
        self.code = "\n".join(re.sub(r"(^|\s)#.*", "", text) for name, text in self.files.items() if name.endswith(".tf"))

    def say(self, text):
        self.complaints.append(text)

    @staticmethod
    def plain(body):
        return {k.strip('"'): v for k, v in body.items() if not k.startswith("__")}

    def typings(self, kind, type_name):
        folder = type_name.replace("google_", "data-google-" if kind == "data" else "", 1).replace("_", "-")
        path = self.schema / folder / "index.d.ts"
        return Typings(path) if path.exists() else None

    def resources(self):
        """Yield (kind, type, name, body)."""
        for kind in ("resource", "data"):
            for block in self.blocks[kind]:
                for type_name, named in self.plain(block).items():
                    for name, body in self.plain(named).items():
                        yield kind, type_name, name, self.plain(body)

    def check_arguments(self, where, interface, body, typings):
        given = dict(body)
        for block in given.pop("dynamic", []):
            for name, dynamic in self.plain(block).items():
                given.setdefault(name, []).extend(dynamic["content"])
        known = typings.interfaces[interface]
        for name, value in given.items():
            if camel(name) not in known:
                self.say(f"{where}: no argument {name}")
                continue
            nested = re.match(r"\w+", known[camel(name)][1]).group()
            blocks = [b for b in value if isinstance(b, dict) and b.get("__is_block__")] if isinstance(value, list) else []
            if blocks and nested not in typings.interfaces:
                self.say(f"{where}: {name} is not a block")
            elif not blocks and nested in typings.interfaces:
                self.say(f"{where}: {name} is a block")
            for block in blocks if nested in typings.interfaces else []:
                self.check_arguments(f"{where}.{name}", nested, self.plain(block), typings)
        for name, (required, _) in known.items():
            if required and snake(name) not in given:
                self.say(f"{where}: {snake(name)} is required")

    def check_resources(self):
        found = 0
        for kind, type_name, name, body in self.resources():
            typings = self.typings(kind, type_name)
            if not typings or typings.type != type_name:
                self.say(f"no {kind} {type_name}")
                continue
            found += 1
            self.check_arguments(f"{type_name}.{name}", typings.config, {k: v for k, v in body.items() if k not in META}, typings)
        if found < 9:
            self.say(f"{found} resources were looked at")

    def check_references(self):
        declared = {(kind, t, n) for kind, t, n, _ in self.resources()}
        for match in sorted(set(re.findall(r"\b(data\.)?(google_\w+)\.(\w+)(?:\[0\])?\.(\w+)", self.code))):
            kind, (type_name, name, attribute) = "data" if match[0] else "resource", match[1:]
            if (kind, type_name, name) not in declared:
                self.say(f"{type_name}.{name} is not declared")
            elif (typings := self.typings(kind, type_name)) and attribute not in typings.attributes:
                self.say(f"{type_name}.{name} has no attribute {attribute}")

    def check_names(self):
        declared = {name: self.plain(body) for block in self.blocks["variable"] for name, body in self.plain(block).items()}
        outputs = {name: self.plain(body) for block in self.blocks["output"] for name, body in self.plain(block).items()}
        used = set(re.findall(r"\bvar\.(\w+)", "\n".join(text for name, text in self.files.items() if name in ("main.tf", "outputs.tf"))))
        for name in sorted(used - set(declared)):
            self.say(f"var.{name} is not declared")
        for name in sorted(set(declared) - used):
            self.say(f"variable {name} is not used")
        rows = dict(re.findall(r"^\| `(\w+)` \| *([^|]*?) *\|", self.files["README.md"], re.M))
        for kind, named in (("variable", declared), ("output", outputs)):
            for name, body in named.items():
                if "description" not in body:
                    self.say(f"{kind} {name} has no description")
                if kind == "variable" and "type" not in body:
                    self.say(f"variable {name} has no type")
                if name not in rows:
                    self.say(f"README.md: no row for {kind} {name}")
        for name, body in declared.items():
            default = "required" if "default" not in body else self.shown(body["default"])
            if rows.get(name, default).strip("`") != default:
                self.say(f"README.md: the default of {name} is {default}, not {rows[name].strip('`')}")
        for name in sorted(set(rows) - set(declared) - set(outputs)):
            self.say(f"README.md: nothing is named {name}")

    @staticmethod
    def shown(value):  # as the table has it: an empty text is an empty cell
        return {"True": "true", "False": "false", "None": "null"}.get(str(value), str(value)).strip('"').replace("${null}", "null")

    def check_roles(self):
        roles = set(re.findall(r'"(roles/[\w.]+)"', self.code))
        for role in sorted(roles - ROLES):
            self.say(f"{role} is more than needed")
        for role in sorted(ROLES - roles):
            self.say(f"{role} is not granted")


CHECKS = {
    "each resource, block and argument is one of the provider's schema, and those that are required are given": Module.check_resources,
    "each reference is to an attribute of a resource that is declared": Module.check_references,
    "variables and outputs are used, described, and in README.md with their defaults": Module.check_names,
    "no role but the three that are needed is granted": Module.check_roles,
}


def complaints(folder, schema, checks):
    module = Module(folder, schema)
    for check in checks:
        check(module)
    return module.complaints


def main():
    folder, schema = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    results = [(title, complaints(folder, schema, [check])) for title, check in CHECKS.items()]
    for title, (file, old, new, said) in MUTATIONS.items():
        with tempfile.TemporaryDirectory() as name:
            broken = pathlib.Path(name)
            for path in folder.iterdir():
                (broken / path.name).write_bytes(path.read_bytes())
            text = (folder / file).read_text(encoding="utf-8")
            wrong = [] if old in text else [f"{file} has no {old!r}"]
            (broken / file).write_text(text.replace(old, new, 1), encoding="utf-8")
            found = complaints(broken, schema, CHECKS.values())
            if not any(re.search(said, one) for one in found):
                wrong.append("it says: " + ("; ".join(found) or "nothing"))
            results.append(("finds " + title, wrong))
    for number, (title, wrong) in enumerate(results, 1):
        print(f"{'not ok' if wrong else 'ok'} {number} - {title}")
        for line in wrong:
            print("# " + line)
    return 1 if any(wrong for _, wrong in results) else 0


if __name__ == "__main__":
    sys.exit(main())
