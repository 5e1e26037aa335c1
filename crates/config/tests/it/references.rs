//! Secrets that are elsewhere: `{ source: …, provider: …, id: … }`.

use moltbot_config::{SecretState, schema, seal_all, secret_at, secrets};
use secrecy::ExposeSecret as _;

use crate::toy::{Toy, with};

/// The providers of the cases.
const PROVIDERS: &str = "{
  defaults: { file: 'many', env: 'default' },
  providers: {
    many: { source: 'file', path: '/run/many.json' },
    one: { source: 'file', path: '/run/one', mode: 'singleValue', timeoutMs: 5000 },
    relative: { source: 'file', path: 'run/one', mode: 'singleValue' },
    text: { source: 'file', path: '/run/one' },
    some: { source: 'env', allowlist: ['B'] },
    all: { source: 'env' },
    vault: { source: 'exec', command: '/usr/bin/vault', args: ['read'], env: { VAULT_ADDR: '${A}' } },
    silent: { source: 'exec', command: '/usr/bin/silent' },
    broken: { source: 'exec', command: '/usr/bin/broken' },
  },
}";

fn token(providers: &str, reference: &str) -> Result<String, String> {
    let text = format!("{{ secrets: {providers}, gateway: {{ auth: {{ token: {reference} }} }} }}");
    let loaded = with(&Toy(1), true, &text).map_err(|errors| {
        let said: Vec<String> =
            errors.errors().iter().map(|error| format!("{}: {}", error.path, error.message)).collect();
        said.join(" | ")
    })?;
    let shown = format!("{loaded:?}");
    let token = loaded.config.gateway.auth.token.ok_or("no token")?.expose_secret().to_owned();
    assert!(!shown.contains(&token) && loaded.value.to_string().contains("source"), "{shown}");
    Ok(token)
}

#[test]
fn a_reference_is_looked_up_where_it_says() {
    for (reference, expected) in [
        ("{ source: 'store', provider: 'default', id: 'there' }", "from ${A} the store"),
        ("{ source: 'store', id: 'there' }", "from ${A} the store"),
        ("{ source: 'env', id: 'A' }", "value-of-a"),
        ("{ source: 'env', provider: 'default', id: 'A' }", "value-of-a"),
        ("{ source: 'env', provider: 'all', id: 'A' }", "value-of-a"),
        ("{ source: 'file', provider: 'many', id: '/openai/key' }", "sk-json"),
        ("{ source: 'file', id: '/a~1b/1' }", "of-a-list"),
        ("{ source: 'file', provider: 'one', id: 'value' }", "in a file"),
        ("{ source: 'file', provider: 'default', id: '/run/one' }", "in a file"),
        ("{ source: 'exec', provider: 'vault', id: 'x/y#z' }", "/usr/bin/vault was asked for x/y#z"),
    ] {
        assert_eq!(token(PROVIDERS, reference).as_deref(), Ok(expected), "{reference}");
    }
    assert_eq!(token("{}", "{ source: 'file', id: '/run/one' }").as_deref(), Ok("in a file"));
}

/// What is said of a source that is none.
const INVALID: &str = "the `source` of a reference is \"env\", \"exec\", \"file\" or \"store\"";

/// References that lead nowhere, and what is said of them.
const WRONG: &[(&str, &str)] = &[
    ("{ source: 'store', id: 'absent' }", "store:absent is not there"),
    ("{ source: 'store', provider: 'many', id: 'there' }", "`store` has no provider \"many\"; leave it out"),
    (
        "{ source: 'exec', id: 'x' }",
        "`exec` needs a provider in `secrets.providers`, which names the program",
    ),
    ("{ source: 'exec', provider: 'vault', id: 'x' }", "the program of \"vault\" gave nothing for \"x\""),
    ("{ source: 'exec', provider: 'vault', id: 'refused' }", "it refuses that"),
    ("{ source: 'exec', provider: 'vault', id: 'empty' }", "exec:empty is empty"),
    ("{ source: 'exec', provider: 'broken', id: 'x' }", "/usr/bin/broken does not answer"),
    (
        "{ source: 'env', id: 'NOT_THERE' }",
        "the variable `NOT_THERE` of the environment is not set, or is empty",
    ),
    (
        "{ source: 'env', provider: 'some', id: 'A' }",
        "the variable `A` is not in the `allowlist` of its provider",
    ),
    (
        "{ source: 'env', provider: 'other', id: 'A' }",
        "there is no provider \"other\" in `secrets.providers`",
    ),
    ("{ source: 'env', provider: 'many', id: 'A' }", "the provider \"many\" is of another `source`"),
    (
        "{ source: 'file', provider: 'one', id: '/x' }",
        "the file of its provider is one secret, whose `id` is \"value\"",
    ),
    ("{ source: 'file', provider: 'text', id: '/x' }", "the file of its provider is not JSON"),
    (
        "{ source: 'file', provider: 'relative', id: 'value' }",
        "the `path` of its provider is not the absolute path of a file",
    ),
    ("{ source: 'file', id: '/openai/n' }", "the file of its provider has no text at \"/openai/n\""),
    ("{ source: 'file', id: '/openai' }", "the file of its provider has no text at \"/openai\""),
    (
        "{ source: 'file', provider: 'default', id: 'value' }",
        "without a provider, the `id` of `file` is the absolute path of the file",
    ),
    ("{ source: 'file', provider: 'default', id: '/run/empty' }", "file:/run/empty is empty"),
    ("{ source: 'file', id: 'S3CR3T' }", "the `id` of `file` begins with '/', or is \"value\""),
    (
        "{ source: 'env', id: 'sk-S3CR3T' }",
        "the `id` of `env` is the name of a variable, such as OPENAI_API_KEY",
    ),
    ("{ source: 'exec', id: 'a/../S3CR3T' }", "the `id` of `exec` is a name, such as \"vault/openai/key\""),
    ("{ source: 'store', id: 'S3CR3T!' }", "the `id` of `store` is a name, such as \"house/key\""),
    ("{ source: 'env', id: ['S3CR3T'] }", "a reference has an `id`, which is a text"),
    ("{ source: 'env' }", "a reference has an `id`, which is a text"),
    (
        "{ source: 'env', provider: 'S3CR3T', id: 'A' }",
        "a `provider` is 1 to 64 of a-z, 0-9, '-' and '_', beginning with a letter",
    ),
    (
        "{ source: 'env', id: 'A', more: 'S3CR3T' }",
        "a reference has `source`, `provider` and `id`, and no \"more\"",
    ),
    ("{ source: 'S3CR3T', id: 'x' }", INVALID),
    ("{ source: 5, id: 'x' }", INVALID),
];

#[test]
fn a_reference_that_leads_nowhere_says_why_and_no_value() {
    for (reference, says) in WRONG {
        assert_eq!(token(PROVIDERS, reference), Err(format!("gateway.auth.token: {says}")), "{reference}");
    }
    let no_providers =
        token("{ providers: { x: { source: 'moon' } } }", "{ source: 'env', id: 'A' }").unwrap_err();
    assert!(no_providers.contains("secrets.providers.x.source: \"moon\" is not a value"), "{no_providers}");
}

#[test]
fn what_is_no_reference_is_sealed_and_a_broken_one_stops_the_sealing() {
    // Objects with a member of that name, which are something else.
    let text =
        "{ env: { source: 'plain-1' }, models: { providers: { a: { headers: { source: 'plain-2' } } } },
        channels: { googlechat: { serviceAccount: { source: 'plain-3', private_key: 'plain-4' } } } }";
    let sealed = seal_all(text, &Toy(1)).unwrap();
    assert_eq!(sealed.paths.len(), 4, "{:?}", sealed.paths);
    assert!(!sealed.text.contains("plain-"), "{}", sealed.text);
    let loaded = with(&Toy(1), true, &sealed.text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.config.models.providers["a"].headers["source"].expose_secret(), "plain-2");
    // A secret beside a reference would stay in plaintext.
    for broken in ["{ source: 'env', id: 'A', key: 'plain' }", "{ source: 'moon', id: 'plain' }"] {
        let text = format!("{{ talk: {{ apiKey: {broken} }} }}");
        let error = seal_all(&text, &Toy(1)).unwrap_err().to_string();
        assert!(error.contains("talk.apiKey") && !error.contains("plain"), "{error}");
        assert!(with(&Toy(1), false, &text).is_err(), "{broken}");
        let entries = secrets(&text).unwrap();
        assert!(!format!("{entries:?}").contains("plain"), "{entries:?}");
    }
    let one = "{ talk: { apiKey: { source: 'file', id: '/x' } } }";
    assert_eq!(secrets(one).unwrap()[0].state, SecretState::Reference("file:/x".into()));
    assert!(secret_at(one, "talk.apiKey", &Toy(1)).is_err());
}

#[test]
fn a_program_is_asked_once_for_all_and_what_nobody_asked_for_is_a_value_that_nobody_knows() {
    let of = |provider: &str, id: &str| format!("{{ source: 'exec', provider: '{provider}', id: '{id}' }}");
    let text = format!(
        "{{ secrets: {PROVIDERS}, gateway: {{ auth: {{ token: {}, password: {} }} }},
          models: {{ providers: {{ a: {{ apiKey: {} }} }} }} }}",
        of("vault", "x/y#z"),
        of("silent", "p"),
        of("vault", "x/y#z"),
    );
    let loaded = with(&Toy(1), true, &text).unwrap_or_else(|errors| panic!("{errors}"));
    let auth = loaded.config.gateway.auth;
    assert_eq!(auth.token.unwrap().expose_secret(), "/usr/bin/vault was asked for x/y#z");
    assert_eq!(loaded.withheld, ["gateway.auth.password"]);
    let (stand_in, again) = (auth.password.unwrap(), with(&Toy(1), true, &text).unwrap());
    assert_eq!(stand_in.expose_secret().len(), 64);
    assert_ne!(again.config.gateway.auth.password.unwrap().expose_secret(), stand_in.expose_secret());
}

#[test]
fn what_no_setting_uses_yet_is_not_looked_up() {
    let text = "{ channels: { discord: { token: { source: 'exec', provider: 'vault', id: 'x' } } }, skills: { entries: { a: { apiKey: { source: 'env', id: 'NOT_THERE' } } } } }";
    let loaded = with(&Toy(1), true, text).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(loaded.secrets.is_empty(), "nothing is taken out of logs for it, least of all the empty text");
    let served = "{ models: { providers: { a: { headers: { X: { source: 'env', id: 'NOT_THERE' } } } } } }";
    let errors = with(&Toy(1), true, served).unwrap_err();
    assert_eq!(errors.errors()[0].path, "models.providers.a.headers.X");
}

#[test]
fn providers_are_settings_like_others() {
    let case = |providers: &str| token(providers, "'${A}'").err().unwrap_or_default();
    for (providers, says) in [
        ("{ providers: { a: { path: '/x' } } }", "secrets.providers.a: `source` is missing"),
        (
            "{ providers: { a: { source: 'file', pth: '/x' } } }",
            "secrets.providers.a.pth: there is no setting \"pth\"",
        ),
        (
            "{ providers: { a: { source: 'file', allowInsecurePath: true } } }",
            "secrets.providers.a.allowInsecurePath: true is not accepted: others could read the secrets, or change them",
        ),
        (
            "{ providers: { a: { source: 'env', allowlist: 'A' } } }",
            "secrets.providers.a.allowlist: \"A\" is a text",
        ),
        (
            "{ providers: { a: { source: 'exec', timeoutMs: 0 } } }",
            "secrets.providers.a.timeoutMs: 0 is too small",
        ),
        (
            "{ providers: { a: { source: 'exec', maxOutputBytes: 1048577 } } }",
            "secrets.providers.a.maxOutputBytes: 1048577 is too large",
        ),
    ] {
        assert_eq!(case(providers), says, "{providers}");
    }
    let schema = schema();
    let token = &schema["properties"]["gateway"]["properties"]["auth"]["properties"]["token"];
    assert!(token.to_string().contains("\"provider\""), "{token}");
}
