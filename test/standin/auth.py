"""The token endpoint and the bearer check: who may ask, and what a refusal looks like."""
import base64
import hashlib
import json
import secrets
import threading
import time
from urllib.parse import parse_qs

from certs import USER
from errors import ApiError, OAuthError

AUDIENCE = "https://oauth2.googleapis.com/token"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPE_PREFIX = "https://www.googleapis.com/auth/"
FULL_SCOPES = {SCOPE_PREFIX + "bigquery", SCOPE_PREFIX + "cloud-platform"}
IAM_SCOPES = {SCOPE_PREFIX + "iam", SCOPE_PREFIX + "cloud-platform"}
READ_SCOPES = {SCOPE_PREFIX + "bigquery.readonly", SCOPE_PREFIX + "cloud-platform.read-only"}
TOKEN_SECONDS = 3599
CLOCK_SKEW = 300
# The DER before the 32 bytes of the digest in a PKCS#1 v1.5 signature.
SHA256_PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")
HELP = ("Expected OAuth 2 access token, login cookie or other valid authentication credential. "
        "See https://developers.google.com/identity/sign-in/web/devconsole-project.")


def read_form(content_type, body):
    """The fields of a posted form."""
    if content_type.split(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise OAuthError("invalid_request", "Bad Request")
    return {name: values[0] for name, values in parse_qs(body.decode("ascii", "replace")).items()}


def b64url(text):
    """Unpadded base64url; ValueError for anything else."""
    if "=" in text or "+" in text or "/" in text:
        raise ValueError("not base64url")
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def signature_fits(key, signed, signature):
    """RSA PKCS#1 v1.5 with SHA-256: key is (modulus, exponent)."""
    modulus, exponent = key
    size = (modulus.bit_length() + 7) // 8
    if len(signature) != size:
        return False
    opened = pow(int.from_bytes(signature, "big"), exponent, modulus).to_bytes(size, "big")
    digest = hashlib.sha256(signed).digest()
    padding = b"\xff" * (size - 3 - len(SHA256_PREFIX) - len(digest))
    return opened == b"\x00\x01" + padding + b"\x00" + SHA256_PREFIX + digest


def decode_jwt(assertion):
    """Header, claims, signed bytes and signature of a JWT, unverified; ValueError when it is not one."""
    head, body, signature = assertion.split(".")
    header, claims = json.loads(b64url(head)), json.loads(b64url(body))
    if not all(isinstance(part, dict) for part in (header, claims)):
        raise ValueError("not objects")
    return header, claims, f"{head}.{body}".encode(), b64url(signature)


class Auth:
    """Accounts that may sign, and the tokens given to them."""

    def __init__(self, anonymous=False):
        self.anonymous = anonymous
        self.keys = {}  # (email, key id) → (modulus, exponent)
        self.lock = threading.Lock()
        self.tokens = {}  # token → (monotonic end, scopes, account)

    def add_key(self, email, key_id, modulus, exponent=65537):
        self.keys[email, key_id] = (modulus, exponent)

    def reset(self):
        with self.lock:
            self.tokens.clear()

    def expire_all(self):
        """All tokens given so far are worth nothing from now on."""
        with self.lock:
            self.tokens = {token: (0, *rest) for token, (_, *rest) in self.tokens.items()}

    # -- the token endpoint --------------------------------------------------------------------------------------

    def exchange(self, content_type, body, expires_in=None):
        """An assertion or a refresh token for an access token, or OAuthError as Google says it."""
        form = read_form(content_type, body)
        if "grant_type" not in form:
            raise OAuthError("invalid_request", "Required parameter is missing: grant_type")
        if form["grant_type"] == "refresh_token":
            return self.refresh(form, expires_in)
        if form["grant_type"] != GRANT_TYPE:
            raise OAuthError("unsupported_grant_type", f"Invalid grant_type: {form['grant_type']}")
        if "assertion" not in form:
            raise OAuthError("invalid_request", "Required parameter is missing: assertion")
        return self.issue(*self.verify(form["assertion"]), expires_in)

    def refresh(self, form, expires_in):
        """A user's refresh token for an access token with the scopes that were granted to it."""
        if form.get("client_id") != USER["client_id"]:
            raise OAuthError("invalid_client", "The OAuth client was not found.", 401)
        if form.get("client_secret") != USER["client_secret"]:
            raise OAuthError("invalid_client", "Unauthorized", 401)
        if "refresh_token" not in form:
            raise OAuthError("invalid_request", "Missing required parameter: refresh_token")
        if form["refresh_token"] != USER["refresh_token"]:
            raise OAuthError("invalid_grant", "Token has been expired or revoked.")
        scope = SCOPE_PREFIX + "cloud-platform"
        return dict(self.issue(USER["account"], {scope}, expires_in), scope=scope)

    def issue(self, account, scopes, expires_in=None):
        """A new token, as token endpoints answer."""
        token = "ya29.c." + secrets.token_urlsafe(150) + "." * 12
        lifetime = TOKEN_SECONDS if expires_in is None else expires_in
        with self.lock:
            # expires_in may be a string or nonsense on purpose; the token itself is then good for an hour.
            seconds = lifetime if isinstance(lifetime, (int, float)) and lifetime > 0 else TOKEN_SECONDS
            self.tokens[token] = (time.monotonic() + seconds, scopes, account)
        return {"access_token": token, "expires_in": lifetime, "token_type": "Bearer"}

    def verify(self, assertion):
        """The account of a good assertion, and the scopes it asks for."""
        try:
            header, claims, signed, signature = decode_jwt(assertion)
        except (ValueError, UnicodeDecodeError):
            raise OAuthError("invalid_grant", "Bad Request") from None
        if header.get("alg") != "RS256" or header.get("typ", "JWT") != "JWT":
            raise OAuthError("invalid_grant", "Invalid JWT: Unsupported algorithm or type in the header.")
        issuer = claims.get("iss")
        if not any(email == issuer for email, _ in self.keys):
            raise OAuthError("invalid_grant", "Invalid grant: account not found")
        key = self.keys.get((issuer, header.get("kid")))
        if key is None or not signature_fits(key, signed, signature):
            raise OAuthError("invalid_grant", "Invalid JWT Signature.")
        if claims.get("aud") != AUDIENCE:
            raise OAuthError("invalid_grant", f"Invalid JWT: Failed audience check. The right audience is {AUDIENCE}")
        self.verify_times(claims)
        if claims.get("sub", issuer) != issuer:
            raise OAuthError("unauthorized_client", "Client is unauthorized to retrieve access tokens using this "
                             "method, or client not authorized for any of the scopes requested.", 401)
        scopes = set(str(claims.get("scope", "")).split())
        if not scopes or not scopes <= FULL_SCOPES | READ_SCOPES | IAM_SCOPES:
            raise OAuthError("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        return issuer, scopes

    @staticmethod
    def verify_times(claims):
        issued, expires, now = claims.get("iat"), claims.get("exp"), time.time()
        numbers = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in (issued, expires))
        if (
            not numbers or not 0 < expires - issued <= 3600 or expires <= now
            or not now - 3600 - CLOCK_SKEW <= issued <= now + CLOCK_SKEW
        ):
            raise OAuthError(
                "invalid_grant",
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
                "Check your iat and exp values in the JWT claim.",
            )

    # -- the bearer ----------------------------------------------------------------------------------------------

    def bearer(self, header):
        """What an Authorization header is worth ("ok", "read", "missing", "unknown", "expired"), and whose it is."""
        if self.anonymous and header is None:
            return "ok", None
        scheme, _, token = (header or "").partition(" ")
        if not header or scheme.lower() != "bearer" or not token:
            return "missing", None
        ends, scopes, account = self.known(token)
        if ends is None:
            return "unknown", None
        if ends <= time.monotonic():
            return "expired", account
        return ("ok" if scopes & FULL_SCOPES else "read"), account

    def known(self, token):
        """(monotonic end, scopes, account) of a token; all None for one that was never given."""
        with self.lock:
            return self.tokens.get(token, (None, None, None))

    @staticmethod
    def require(state, kind):
        """ApiError unless a bearer in this state may make a call of this kind."""
        if state == "missing":
            raise ApiError(
                "required", "Request is missing required authentication credential. " + HELP,
                location="Authorization", location_type="header",
                headers={"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/"'},
                details=[error_info("CREDENTIALS_MISSING")],
            )
        if state in ("unknown", "expired"):
            raise ApiError(
                "authError", "Request had invalid authentication credentials. " + HELP,
                location="Authorization", location_type="header",
                headers={"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/", error="invalid_token"'},
                details=[error_info("ACCESS_TOKEN_EXPIRED")] if state == "expired" else None,
            )
        if state == "read" and kind in ("insert", "cancel"):
            raise ApiError(
                "insufficientPermissions", "Request had insufficient authentication scopes.", 403,
                details=[error_info("ACCESS_TOKEN_SCOPE_INSUFFICIENT")],
            )


def error_info(reason):
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}
