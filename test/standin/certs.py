#!/usr/bin/env python3
"""Keys and certificates for the stand-in, made with the openssl command line.

    certs.py DIRECTORY [--token-uri URL] [--project ID]

makes, with mode 0600 each:

    ca.pem              a certificate authority; server.pem, server.key: a server certificate for localhost, 127.0.0.1
    other_ca.pem        another authority, which signed nothing
    key.json            a service-account key file that the stand-in accepts
    unknown_key.json    the same account with another RSA key, which the stand-in does not know
    ec_key.json         the same account with an elliptic-curve key
    service.key, unknown.key, ec.key    their private keys, as PEM
    user.json           a user's credentials (authorized_user) with a refresh token
    external.json       workload identity federation (external_account): the token in subject_token, exchanged
    impersonated.json   the user's credentials, to become the account of key.json (impersonated_service_account)

and, when the stand-in is told to know more accounts, NAME_key.json and NAME.key of each.
"""
import argparse
import hashlib
import json
import os
import re
import subprocess

DOMAIN = "test-project.iam.gserviceaccount.com"
EMAIL = "contratos-test@" + DOMAIN
KEY_ID = "0123456789abcdef0123456789abcdef01234567"
# A user, as gcloud writes him into a file; the pool and provider whose tokens are exchanged.
USER = {
    "type": "authorized_user", "account": "ana@example.com",
    "client_id": "764086051850-standin.apps.googleusercontent.com", "client_secret": "d-standin+client/secret",
    "refresh_token": "1//0standin-refresh+token/0123456789",
}
AUDIENCE = ("//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/standin/"
            "providers/standin")
SUBJECT_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:jwt"
# Looks like a JSON Web Token, as those that are exchanged.
SUBJECT_TOKEN = "eyJhbGciOiJSUzI1NiJ9.c3RhbmRpbi1zdWJqZWN0.c3RhbmRpbi1zaWduYXR1cmU"
OTHER_KEY_ID = "fedcba9876543210fedcba9876543210fedcba98"
GOOGLE_NAMES = ("oauth2.googleapis.com", "bigquery.googleapis.com")
RESERVED_NAMES = {"service", "unknown", "ec", "ca", "other_ca", "server", "contratos-test"}

CONFIG = """
[req]
distinguished_name = dn
prompt = no
[dn]
CN = {name}
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1{names}
"""


def openssl(*arguments):
    """Run openssl; its output is shown only when it fails."""
    done = subprocess.run(["openssl", *arguments], capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {arguments[0]} failed: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode()


def make_key(path, elliptic=False):
    kind = ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"] if elliptic else ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
    openssl("genpkey", "-algorithm", *kind, "-out", path)


def write_config(directory, name, names=()):
    path = os.path.join(directory, "openssl.cnf")
    with open(path, "w") as file:
        file.write(CONFIG.format(name=name, names="".join(f", DNS:{each}" for each in names)))
    return path


def make_ca(directory, stem, name):
    key = os.path.join(directory, stem + ".key")
    make_key(key, elliptic=True)
    config = write_config(directory, name)
    openssl("req", "-x509", "-new", "-key", key, "-days", "3650", "-sha256", "-config", config, "-extensions", "ca",
            "-out", os.path.join(directory, stem + ".pem"))


def make_server(directory, names):
    make_key(os.path.join(directory, "server.key"), elliptic=True)
    sign_server(directory, "server", write_config(directory, "localhost", names))


def sign_server(directory, stem, config, days="3650"):
    """A certificate for the server's key, by our authority."""
    def path(name):
        return os.path.join(directory, name)

    openssl("req", "-new", "-key", path("server.key"), "-config", config, "-out", path("server.csr"))
    openssl("x509", "-req", "-in", path("server.csr"), "-CA", path("ca.pem"), "-CAkey", path("ca.key"), "-days", days,
            "-set_serial", str(int.from_bytes(os.urandom(8), "big")), "-sha256", "-extfile", config,
            "-extensions", "server", "-out", path(stem + ".pem"))


def make_bad(directory):
    """Certificates that no client may take: out of date, and for another host."""
    if os.path.exists(os.path.join(directory, "wrong_name.pem")):
        return
    config = write_config(directory, "localhost")
    sign_server(directory, "expired", config, days="-1")
    with open(config) as file:
        text = file.read()
    with open(config, "w") as file:
        file.write(text.replace("DNS:localhost, IP:127.0.0.1", "DNS:elsewhere.example"))
    sign_server(directory, "wrong_name", config)
    for name in ("openssl.cnf", "server.csr"):
        os.unlink(os.path.join(directory, name))


def write_key_file(directory, name, pem, token_uri, project, key_id=KEY_ID, email=EMAIL):
    """A service-account key file around a private key."""
    with open(os.path.join(directory, pem)) as file:
        private_key = file.read()
    content = {
        "type": "service_account", "project_id": project, "private_key_id": key_id, "private_key": private_key,
        "client_email": email, "client_id": "100000000000000000001",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth", "token_uri": token_uri,
        "universe_domain": "googleapis.com",
    }
    write_json(directory, name, content)


def write_json(directory, name, content):
    """A credentials file, put there whole."""
    write_text(directory, name, json.dumps(content, indent=2))


def write_text(directory, name, text):
    path = os.path.join(directory, name)
    descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    os.replace(path + ".new", path)


def write_other_files(directory, token_uri):
    """Credentials that are no keys."""
    base = token_uri[: -len("/token")]
    impersonation = f"{base}/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken"
    user = dict(USER, token_uri=token_uri)
    write_json(directory, "user.json", user)
    write_json(directory, "impersonated.json", {
        "type": "impersonated_service_account", "service_account_impersonation_url": impersonation, "delegates": [],
        "source_credentials": user,
    })
    write_text(directory, "subject_token", SUBJECT_TOKEN)
    write_json(directory, "external.json", {
        "type": "external_account", "audience": AUDIENCE, "subject_token_type": SUBJECT_TOKEN_TYPE,
        "token_url": base + "/v1/token", "universe_domain": "googleapis.com",
        "credential_source": {"file": os.path.join(os.path.abspath(directory), "subject_token")},
    })


def write_key_files(directory, token_uri, project):
    """All credentials files; they can be written again when the stand-in's address is known."""
    write_other_files(directory, token_uri)
    write_key_file(directory, "key.json", "service.key", token_uri, project)
    write_key_file(directory, "unknown_key.json", "unknown.key", token_uri, project, OTHER_KEY_ID)
    write_key_file(directory, "ec_key.json", "ec.key", token_uri, project)


def modulus(directory, pem="service.key"):
    """The RSA modulus of an account's key."""
    out = openssl("rsa", "-in", os.path.join(directory, pem), "-noout", "-modulus")
    return int(out.strip().split("=", 1)[1], 16)


def add_account(directory, name, token_uri, project):
    """One more account with a key of its own: its email, the key's id and modulus, the path of its key file."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,28}", name) or name in RESERVED_NAMES:
        raise ValueError(f"not a name for an account: {name}")
    pem, key_file = name + ".key", name + "_key.json"
    old_mask = os.umask(0o077)
    try:
        # Kept over a restart: whoever has the file still has the key.
        if not os.path.exists(os.path.join(directory, pem)):
            make_key(os.path.join(directory, pem))
    finally:
        os.umask(old_mask)
    email, key_id = f"{name}@{DOMAIN}", hashlib.sha256(name.encode()).hexdigest()[:40]
    write_key_file(directory, key_file, pem, token_uri, project, key_id, email)
    return email, key_id, modulus(directory, pem), os.path.join(os.path.abspath(directory), key_file)


def make(directory, names=()):
    """Everything but the key files; the server's certificate is for these names, too.  What is there already is kept,
    so that a restart needs no new keys.
    """
    os.makedirs(directory, mode=0o700, exist_ok=True)
    if os.path.exists(os.path.join(directory, "complete")):
        return
    old_mask = os.umask(0o077)
    try:
        make_ca(directory, "ca", "contratos test CA")
        make_ca(directory, "other_ca", "contratos other test CA")
        make_server(directory, names)
        make_key(os.path.join(directory, "service.key"))
        make_key(os.path.join(directory, "unknown.key"))
        make_key(os.path.join(directory, "ec.key"), elliptic=True)
        for name in ("openssl.cnf", "server.csr"):
            os.unlink(os.path.join(directory, name))
        with open(os.path.join(directory, "complete"), "w"):
            pass
    finally:
        os.umask(old_mask)


def main():
    parser = argparse.ArgumentParser(description="Make keys and certificates for the stand-in.")
    parser.add_argument("directory")
    parser.add_argument("--token-uri", default="http://127.0.0.1:9050/token")
    parser.add_argument("--project", default="test-project")
    options = parser.parse_args()
    make(options.directory)
    write_key_files(options.directory, options.token_uri, options.project)


if __name__ == "__main__":
    main()
