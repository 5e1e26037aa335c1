//! `gateway`: what is known of the gateway and not served yet.

use super::{COUNT, Flag, Noted, OBJECT, Object, OneOf, Open, Shape, TEXTS, Text};

/// `gateway`.
pub(super) const GATEWAY: Shape = Object(&[
    ("controlUi", CONTROL_UI),
    ("http", Object(&[("endpoints", Object(&[("responses", RESPONSES)]))])),
    ("nodes", NODES),
    ("reload", Object(&[("debounceMs", COUNT), ("mode", OneOf(&["hot", "hybrid", "off", "restart"]))])),
    ("remote", REMOTE),
    ("tls", TLS),
]);

const CONTROL_UI: Shape = Object(&[
    ("allowInsecureAuth", Shape::Never("it would send the credential over plain HTTP")),
    ("basePath", Text),
    ("dangerouslyDisableDeviceAuth", Shape::Never("it would let in browsers that nobody approved")),
    ("enabled", Flag),
]);

const RESPONSES: Shape = Object(&[("files", FILES), ("images", OBJECT), ("maxBodyBytes", COUNT)]);

const FILES: Shape = Object(&[
    ("allowUrl", Flag),
    ("allowedMimes", TEXTS),
    ("maxBytes", COUNT),
    ("maxChars", COUNT),
    ("maxRedirects", COUNT),
    ("pdf", OBJECT),
    ("timeoutMs", COUNT),
]);

const NODES: Shape = Object(&[("browser", Object(&[("mode", Text), ("node", Text)]))]);

const REMOTE: Shape = Object(&[
    ("sshIdentity", Text),
    ("sshTarget", Text),
    (
        "transport",
        Noted("commands connect directly; set up a tunnel by yourself", &OneOf(&["direct", "ssh"])),
    ),
]);

const TLS: Shape = Open(&[(
    "caPath",
    Noted(
        "clients are not asked for certificates; what stands between yours and its authority goes into certPath",
        &Text,
    ),
)]);
