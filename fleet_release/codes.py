"""Every code of a finding, with the paragraph that `fleet explain CODE` prints."""

from __future__ import annotations

EXPLANATIONS: dict[str, str] = {
    "E0401": (
        "The file is not readable as YAML 1.2. The place is where the reader gave up; the cause is often one line"
        " above: a missing colon, a tab used for indentation, or a quote that is never closed."
    ),
    "E0402": (
        "A key stands twice in one mapping. Most readers silently keep the last one, so what a person sees first "
        "is not what happens. Remove one of the two. A merge key (<<) may be overridden, a plain key may not."
    ),
    "E0403": (
        "The file is larger, deeper nested, or through its aliases many times larger than any manifest needs to "
        "be, so it was not read further. Files may have 1 MiB, 64 levels and 100,000 values after aliases are "
        "followed."
    ),
    "E0404": (
        "A YAML tag that makes a reader build something else than plain values is not accepted. Compose's own "
        "!reset and !override are, in compose files that are merged over others."
    ),
    "E0411": ("A key that must be there is missing."),
    "E0412": (
        "The key is not known here. Keys are never skipped: a misspelt limit that is silently ignored is a limit "
        "that is not there. Your own additions may stand under keys that begin with x- in a compose file."
    ),
    "E0413": (
        "The value has another kind than the key wants: a list where a mapping is wanted, a number where a text "
        "is wanted. Versions such as 1.10 need quotes, because unquoted they are a number, and 1.10 is 1.1."
    ),
    "E0414": (
        "The value has the right kind but cannot be accepted: a unit that does not exist, a number outside its "
        "bounds, a name with characters that are not allowed, or a choice that is not offered."
    ),
    "E0421": (
        "This compose key cannot be honoured on an edge host, and a release that ignored it would do something "
        "else than the file says. The message says why, and what to use instead where there is something."
    ),
    "E0422": (
        "The service wants more than the default profile: a capability, a device, the host's network or a "
        "writable root file system. Name it in app.yaml under `grants`, with a reason. The grant is signed with "
        "the release, and each host's own policy must allow it as well."
    ),
    "E0423": (
        "The service mounts a path of the host. Containers see named volumes and declared configuration only: a "
        "path of the developer's machine does not exist on a fleet, and a path of the edge host is a way out of "
        "the container. Use a named volume for data, and `config` in app.yaml, with `to: /path`, for files."
    ),
    "E0424": (
        "The service names no image. A release runs images by digest; it builds nothing. Build the image, push it"
        " or save it to a file, and name it with `image`."
    ),
    "E0431": (
        "The compose file uses a variable that is not set, neither in the environment nor in the .env file beside"
        " it. It is not replaced by nothing silently. Set it, or give a default with ${NAME:-default}; ${NAME:-} "
        "says that empty is meant."
    ),
    "E0432": (
        "A dollar sign starts something that is no interpolation. Write ${NAME}, ${NAME:-default}, "
        "${NAME:?message} or ${NAME:+replacement}; write $$ for a dollar sign itself."
    ),
    "E0433": ("A file that is named here cannot be read. Paths are relative to the file that names them."),
    "E0434": (
        "`extends` or `include` does not lead to what it names: there is no such service, the chain is a circle, "
        "or two included files define the same thing differently."
    ),
    "E0441": (
        "The name is used but defined nowhere: a service, volume, network, config or secret of the compose file. "
        "app.yaml speaks of services by the names that the compose file gives them."
    ),
    "E0442": ("The services depend on each other in a circle, so none of them could ever be started first."),
    "E0443": (
        "A configuration key cannot be used as declared: it needs a service of this app and exactly one place, "
        "the environment or an absolute path."
    ),
    "E0444": (
        "A configuration key may not set this variable: it makes a loader or an interpreter run other code, and "
        "what a fleet may set must not be able to change what was signed."
    ),
    "E0445": (
        "The name cannot be used on an edge host. Names of apps, services and volumes are 1 to 32 characters of "
        "a-z, 0-9 and inner hyphens, because they become host names, paths and topics."
    ),
    "E0451": (
        "The rollout cannot be carried out as written: waves that shrink, a `rest` that is not last, a share "
        "that is no percentage, a gate over something that is not measured, or a budget that lets nothing happen."
    ),
    "E0454": (
        "The maintenance window never opens, or its time zone does not exist. A window is five fields of cron and a "
        'duration, such as {cron: "0 22 * * *", for: 6h}, in the device\'s own time zone or in a named one.'
    ),
    "E0452": ("An app is written as name@version, for example cam@1.9.0, and each app stands once in a fleet."),
    "E0453": (
        "The fleet sets a value that the release does not declare, or one that does not fit the declared type, "
        "pattern or size. Only declared keys can be set from outside; declare it in app.yaml under `config` and "
        "release again."
    ),
    "N0401": ("The key is translated into what does the same here; the message says into what."),
    "N0402": (
        "The key is accepted and has no effect on an edge host; the message says why. It is printed so that "
        "nothing is dropped silently."
    ),
    "N0403": (
        "A value came from the environment of the machine on which the release is made. It becomes part of the "
        "signed release."
    ),
    "N0404": (
        "The health window is too short to tell so slow a growth of memory from chance, so a leak of that size is "
        "not seen and the trial may end inconclusive. Growth counts from half a percent of the memory limit, or "
        "256 KiB, within three quarters of the window. Make health.window longer, or allow more in memorySlope."
    ),
}


def explain(code: str) -> str | None:
    """The paragraph of a code; None for a code that lint does not use."""
    return EXPLANATIONS.get(code.strip().upper())
