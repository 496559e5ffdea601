"""Every outside string and number is bounded; the bounds stand here, once.

Regular expressions are full matches (`re.fullmatch`).
"""

from __future__ import annotations

import re

MAX_INTEGER = 2**53
MAX_DESIRED_BYTES = 16 * 1024
MAX_REPORTED_BYTES = 128 * 1024
MAX_EVENTS_BYTES = 64 * 1024
MAX_EVENTS_PER_MESSAGE = 100
MAX_ACK_BYTES = 1024
MAX_RELEASE_BYTES = 256 * 1024
MAX_TUF_METADATA_BYTES = 512 * 1024
MAX_MANIFEST_BYTES = 1024 * 1024
MAX_IMAGE_CONFIG_BYTES = 1024 * 1024
MAX_LAYERS = 100
MAX_SERVICES = 32
MAX_APPS_PER_DEVICE = 32
MAX_LIVE_RELEASES = 100
MAX_CONFIG_KEYS = 64
MAX_INLINE_VALUE_BYTES = 1024
MAX_VALUE_BYTES = 1024 * 1024
MAX_JSON_DEPTH = 32
MAX_TEXT = 400

ID_PATTERN = r"[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?"
"""Device identifiers: DNS-label-like, 1 to 48 characters, safe in a topic, a path and a certificate's CN."""
NAME_PATTERN = r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?"
"""App, service, fleet and volume names, 1 to 32 characters."""
VERSION_PATTERN = r"[0-9A-Za-z](?:[0-9A-Za-z.+-]{0,62}[0-9A-Za-z])?"
DIGEST_PATTERN = r"sha256:[a-f0-9]{64}"
SHA256_PATTERN = r"[a-f0-9]{64}"
LABEL_KEY_PATTERN = r"[a-z][a-z0-9_.-]{0,31}"
LABEL_VALUE_PATTERN = r"[A-Za-z0-9](?:[A-Za-z0-9_./:-]{0,62})?"
ENV_NAME_PATTERN = r"[A-Za-z_][A-Za-z0-9_]{0,63}"
CONFIG_KEY_PATTERN = r"[A-Za-z_][A-Za-z0-9_.-]{0,63}"
ABSOLUTE_PATH_PATTERN = r"/[^\x00-\x1f\x7f]{0,254}"
PLATFORM_PATTERN = r"linux/(?:amd64|arm64|arm/v7|arm/v6|386|riscv64)"

FORBIDDEN_ENV = re.compile(
    r"LD_.*|GCONV_PATH|GLIBC_TUNABLES|MALLOC_.*|PYTHON.*|NODE_OPTIONS|NODE_PATH|PERL5?.*|RUBY(?:OPT|LIB)|JAVA_TOOL_OPTIONS"
    r"|_JAVA_OPTIONS|JDK_JAVA_OPTIONS|BASH_ENV|ENV|IFS|PATH|SHELLOPTS|PS4|PROMPT_COMMAND|BASH_FUNC_.*|DOTNET_.*|CORECLR_.*"
    r"|LUA_.*|PHP_INI.*|GIT_.*|SSL_CERT_.*|OPENSSL_.*|.*_PROXY",
    re.IGNORECASE,
)
"""Variables that make a loader or an interpreter run other code: never settable by configuration."""


def matches(pattern: str, text: str) -> bool:
    """Whether all of `text` matches `pattern`."""
    return re.fullmatch(pattern, text) is not None
