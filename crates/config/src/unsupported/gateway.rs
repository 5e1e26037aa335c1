//! `gateway`: what is known of the gateway and not served yet.

use super::{COUNT, Flag, Noted, OBJECT, Object, OneOf, Open, Shape, TEXTS, Text};

/// `gateway`.
pub(super) const GATEWAY: Shape = Object(&[
    ("auth", Object(&[("allowTailscale", Flag)])),
    ("controlUi", CONTROL_UI),
    ("http", Object(&[("endpoints", Object(&[("responses", RESPONSES)]))])),
    ("nodes", NODES),
    ("reload", Object(&[("debounceMs", COUNT), ("mode", OneOf(&["hot", "hybrid", "off", "restart"]))])),
    ("remote", REMOTE),
    ("tailscale", Object(&[("mode", OneOf(&["funnel", "off", "serve"])), ("resetOnExit", Flag)])),
    ("tls", Noted("the gateway does not serve TLS: keep it on loopback", &TLS)),
]);

const CONTROL_UI: Shape = Object(&[
    ("allowInsecureAuth", Shape::Never("it would send the credential over plain HTTP")),
    ("basePath", Text),
    ("dangerouslyDisableDeviceAuth", Shape::Never("it would let in browsers that nobody approved")),
    ("enabled", Flag),
]);

const RESPONSES: Shape =
    Object(&[("enabled", Flag), ("files", FILES), ("images", OBJECT), ("maxBodyBytes", COUNT)]);

const FILES: Shape = Object(&[
    ("allowUrl", Flag),
    ("allowedMimes", TEXTS),
    ("maxBytes", COUNT),
    ("maxChars", COUNT),
    ("maxRedirects", COUNT),
    ("pdf", OBJECT),
    ("timeoutMs", COUNT),
]);

const NODES: Shape = Object(&[
    ("allowCommands", TEXTS),
    ("browser", Object(&[("mode", Text), ("node", Text)])),
    ("denyCommands", TEXTS),
]);

const REMOTE: Shape = Object(&[
    ("password", Text),
    ("sshIdentity", Text),
    ("sshTarget", Text),
    ("tlsFingerprint", Text),
    ("token", Text),
    ("transport", OneOf(&["direct", "ssh"])),
    ("url", Text),
]);

const TLS: Shape = Open(&[
    ("autoGenerate", Flag),
    ("caPath", Text),
    ("certPath", Text),
    ("enabled", Flag),
    ("keyPath", Text),
]);
