"""Checks of what is assigned to a telling name: is the value drawn at random, or a word?"""

from __future__ import annotations

import re

from opsctl.adapters.secret_scanner.formats import is_public
from opsctl.adapters.secret_scanner.placeholders import is_placeholder, is_reference, is_weak
from opsctl.adapters.secret_scanner.randomness import UUID, entropy, looks_random, surprise
from opsctl.adapters.secret_scanner.sighting import Sighting, Verdict

_WORDS_OF_NAME = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PASSWORD_WORDS = frozenset(
    """pass password passwd pwd passphrase passcode psw passwrd pword""".split()  # noqa: SIM905
)
_PASSWORD_END = re.compile(r"(?:password|passwd|passphrase|pwd|pass)\d{0,2}$", re.IGNORECASE)
_STRONG_WORDS = frozenset(
    """secret secrets token password passwd credential credentials creds cred bearer apikey
    passphrase pat jwt secretkey authtoken accesstoken""".split()  # noqa: SIM905
)
_STRONG_PAIRS = re.compile(
    r"(?:api|access|private|secret|auth|encryption|encrypt|signing|sign|master|account|storage|"
    r"service|license|shared|app|deploy|webhook|hmac|admin|ssh|root|write|server|bot|"
    r"consumer|functions?|subscription|project|user|rsa|aes|cipher|crypto)[\s_.-]{0,2}"
    r"(?:key|token|secret|code|pass|auth)",
    re.IGNORECASE,
)
_NO_SECRET_WORDS = frozenset(
    """public pub publishable anon cache cached primary foreign sort partition row bucket
    schema sequence natural idx hot etag integrity checksum sha sha1 sha256 sha512 md5
    digest hash hashes fingerprint thumbprint label placeholder title text message
    description field column prop selector class endpoint scope scopes expiry expires
    expiration ttl algorithm alg version csrf xsrf author authors authority authorized
    accessibility accessor accessory keyboard keyword keywords keyframe keyframes keypress
    keycode keydown keyup keyring monkey turkey translation locale tokenizer tokenize
    tokenized pagination page next continuation resume authenticity site sitekey issuer
    commit revision rev build dsym image img icon svg path file filename dir directory
    folder url uri href link host hostname domain region zone email mail mailto phone query
    mutation test tests mock example sample demo type types kind format pattern regex regexp
    policy policies min max length len size count limit index position order rotation status
    state header headers cookie error warning valid validation validator invalid required
    optional storagekey i18n react component props children style css color theme font event
    events handler listener callback function module import imports export package
    dependency dependencies license licence copyright encoding charset locales lang language
    currency country release cert certificate ca chain pem crt csr signature signatures
    nonce salt iv""".split()  # noqa: SIM905
)
_LAST_NO_SECRET = frozenset(
    """id ids name names alias user username login ref arn prefix suffix provider source
    target enabled disabled vault ring store stores manager service group role owner env
    var""".split()  # noqa: SIM905
)
_VALUE_IS_TEXT = re.compile(
    r"^(?:[a-z][a-z0-9+.-]{1,20}://|data:|urn:|mailto:|blob:|git@|jdbc:)|^[./~#]|^\w+\(|"
    r"\.(?:js|ts|tsx|jsx|json|ya?ml|py|html?|css|png|svg|jpe?g|md|txt|pem|key|crt|p12|jks|xml|"
    r"com|org|net|io|local|internal)$|^[\w.-]+@[\w-]+\.[a-z]{2,}$|^sha\d{1,3}[-:]|^md5[-:]|"
    r"^--[a-z][a-z0-9-]+$|"
    r"^\d{4}-\d\d-\d\d|^v?\d+\.\d+(?:\.\d+)?|^application/|^text/|^image/|^#[0-9a-f]{3,8}$|"
    r"^[A-Z][A-Z0-9_]+$(?<![0-9]{4})|^rgba?\(|^MI[IG][A-Za-z0-9+/]{60}|::|^ssh-(?:rsa|ed)|^AAAAB3"
    r"|^\d{4,17}:A|^[a-z]{2,}(?:[A-Z]{1,4}[a-z]{2,})*(?:[A-Z]{2,4})?\d{0,3}$|"
    r"^(?:[a-z]+[-_.:/ ])+[a-z]+$|^xmlns",
)
_FORMAT = re.compile(r"%[sdr]|\{\d*\}|\{[a-z_]+\}|\\u00|&[a-z]{2,6};|\\x[0-9a-f]{2}")


def generic_password(seen: Sighting) -> Verdict | None:
    """Confirm a quoted value under the name of a password."""
    if seen.place.is_lock or seen.place.is_fixture or not _names_a_password(seen.name):
        return None
    return _password(seen.value.rstrip("\\"))


def generic_secret(seen: Sighting) -> Verdict | None:
    """Confirm a quoted value under the name of a secret."""
    if seen.place.is_lock or seen.place.is_fixture:
        return None
    value = seen.value.rstrip("\\")
    if _names_a_password(seen.name):
        return _password(value)
    strength = _strength(seen.name)
    return _secret(value, strength) if strength else None


def generic_line(seen: Sighting) -> Verdict | None:
    """Confirm a value without quotes: more must speak for it, since it may be an expression."""
    if seen.place.is_lock or seen.place.is_fixture:
        return None
    value = seen.value.rstrip("\\.,")
    if re.search(r"[()\[\]{}]|=>|&&|\|\||[a-z]\.[a-z]|\w\s", value) and not looks_random(value):
        return None
    if _names_a_password(seen.name):
        if seen.place.is_code and not looks_random(value, least=10):
            return None
        return _password(value)
    strength = _strength(seen.name)
    if not strength or (strength == 1 and seen.place.is_code):
        return None
    return _secret(value, strength)


def generic_near(seen: Sighting) -> Verdict | None:
    """Confirm a value that stands behind the word for it: only what was drawn at random."""
    value = seen.value.rstrip(".")
    if seen.place.is_lock or seen.place.is_fixture or seen.place.is_code:
        return None
    if re.search(r"public|commit|primary|foreign|cache|hash", seen.before(24), re.IGNORECASE):
        return None
    if _VALUE_IS_TEXT.search(value) or not re.search(r"\d.*\d", value) or is_public(value):
        return None
    return Verdict(confidence="medium") if looks_random(value, least=20) else None


def command_password(seen: Sighting) -> Verdict | None:
    """Confirm a password or token given to a program as an argument."""
    value = seen.value.rstrip("'\",;")
    if seen.place.is_fixture or is_weak(value) or is_placeholder(value):
        return None
    if value.startswith("-") or _VALUE_IS_TEXT.search(value):
        return None
    if looks_random(value, least=10) or _is_password_like(value):
        return Verdict(confidence="medium")
    return None


def bearer(seen: Sighting) -> Verdict | None:
    """Confirm a token in a header: drawn at random, and no JWT, which has a rule of its own."""
    value = seen.value.rstrip(".,:")
    if seen.place.is_fixture or is_placeholder(value) or value.startswith("eyJ"):
        return None
    if _VALUE_IS_TEXT.search(value) or not looks_random(value, least=16):
        return None
    return Verdict(confidence="medium", value=value)


def plain_value(seen: Sighting) -> Verdict | None:
    """Confirm a value whose name says that it is a secret: it must only be one."""
    value = seen.value.strip("\"'`")
    if is_placeholder(value) or is_weak(value) or seen.place.is_fixture:
        return None
    if seen.place.is_lock or _VALUE_IS_TEXT.search(value) or is_public(value):
        return None
    if not (looks_random(value, least=8) or _is_password_like(value)):
        return None
    return Verdict(value=value)


def password_value(seen: Sighting) -> Verdict | None:
    """Confirm a password that a database's own variable or statement holds."""
    value = seen.value.strip("\"'`").rstrip(";,")
    if len(value) < 4 or is_reference(value) or is_placeholder(value) or is_weak(value):
        return None
    if value[:1] in ("$", "%", "<", "{", "(", ":", "[", "&", "!", "-", "/") and not re.search(
        r"\d", value
    ):
        return None
    if re.match(r"[\w.]+\(|SCRAM-SHA-256|md5[0-9a-f]{32}", value) or seen.place.is_fixture:
        return None
    name = re.fullmatch(r"[A-Za-z_][\w.]*", value) and not _is_quoted(seen)
    if seen.place.is_code and name and not looks_random(value, least=10):
        return None
    if not is_strong_enough(value):
        return None
    return Verdict(value=value)


def is_strong_enough(value: str) -> bool:
    """Whether a password is more than a word that stands for one."""
    if looks_random(value, least=8) or _is_password_like(value):
        return True
    return len(value) >= 8 and value.isalpha() and surprise(value) > 4.3


def _is_quoted(seen: Sighting) -> bool:
    return seen.value[:1] in "\"'`" or seen.before(1) in "\"'`"


def _password(value: str) -> Verdict | None:
    if is_weak(value) or _VALUE_IS_TEXT.search(value):
        return None
    if _FORMAT.search(value) or " " in value or len(value) > 120:
        return None
    if UUID.fullmatch(value):
        return Verdict(confidence="medium")
    if not (looks_random(value, least=10) or _is_password_like(value)):
        return None
    return Verdict(confidence="medium")


def _is_password_like(value: str) -> bool:
    """Whether a person could have made it up as a password: several kinds of signs."""
    if len(value) < 6 or "|" in value or _VALUE_IS_TEXT.search(value):
        return False
    lower = any(sign.islower() for sign in value)
    upper = any(sign.isupper() for sign in value)
    digit = any(sign.isdigit() for sign in value)
    other = any(not sign.isalnum() and sign not in "_-./:,$ " for sign in value)
    kinds = lower + upper + digit + other
    if digit and kinds >= 3 and len(value) >= 8:
        return not re.fullmatch(r"[A-Za-z]+[_-]?[A-Za-z]*\d", value)
    if other and kinds >= 3:
        return len(value) >= 8 and surprise(value) >= 4.4
    return digit and (lower or upper) and surprise(value) >= 4.3 and len(value) >= 8


def _secret(value: str, strength: int) -> Verdict | None:
    if is_weak(value) or _FORMAT.search(value) or is_public(value):
        return None
    if _VALUE_IS_TEXT.search(value):
        long = strength == 2 and re.search(r"\d", value) and looks_random(value, least=24)
        if not long:
            return None
    if UUID.fullmatch(value):
        return Verdict(confidence="medium") if strength == 2 else None
    if re.search(r"[?|,;*&]", value) and entropy(value) < 4:
        return None
    bare = value.rstrip("=")
    if strength == 2 and looks_random(bare, least=10):
        return Verdict(confidence="medium")
    if strength == 2 and re.search(r"[^\w.:/+=-]", value) and _is_password_like(value):
        return Verdict(confidence="medium")
    if strength == 1 and looks_random(bare, least=20) and entropy(bare) >= 3.5:
        return Verdict(confidence="medium")
    return None


def _names_a_password(name: str) -> bool:
    words = [word.lower() for word in _WORDS_OF_NAME.findall(name)]
    if not words or words[-1] in _LAST_NO_SECRET or any(w in _NO_SECRET_WORDS for w in words):
        return False
    if any(word in _PASSWORD_WORDS for word in words):
        return True
    return bool(_PASSWORD_END.search(name)) and words[-1] not in ("bypass", "compass")


def _strength(name: str) -> int:
    """Return how sure a name says secret: 2 surely, 1 perhaps, 0 not at all."""
    words = [word.lower() for word in _WORDS_OF_NAME.findall(name)]
    if not words or words[-1] in _LAST_NO_SECRET:
        return 0
    if any(word in _NO_SECRET_WORDS for word in words):
        return 0
    if any(word in _STRONG_WORDS for word in words) or _STRONG_PAIRS.search(name):
        return 2
    if re.search(r"secret|token|apikey|passw|credential", name, re.IGNORECASE):
        return 2
    weak = {"key", "auth", "access", "keys", "tokens", "authentication", "authorization"}
    return 1 if weak & set(words) else 0
