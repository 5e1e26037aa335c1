//! What a program is asked, and how its answer is read: the protocol of upstream's exec providers, version 1.

use std::collections::BTreeMap;

use moltbot_policy::secret::program::SecretProgramPermit;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::Answers;

/// The version of question and answer.
const VERSION: u32 = 1;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    protocol_version: u32,
    provider: &'a str,
    ids: &'a [String],
}

/// An answer. Its texts are secret from the moment they are read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Response {
    protocol_version: u32,
    #[serde(default)]
    values: BTreeMap<String, SecretString>,
    #[serde(default)]
    errors: BTreeMap<String, serde::de::IgnoredAny>,
}

/// One line of JSON.
pub(super) fn request(permit: &SecretProgramPermit) -> String {
    let request = Request { protocol_version: VERSION, provider: permit.provider(), ids: permit.ids() };
    // Texts and a number: there is nothing that JSON could not say.
    let mut line = serde_json::to_string(&request).unwrap_or_default();
    line.push('\n');
    line
}

/// The answers for all ids that were asked for. The program's own messages may hold secrets and are not repeated.
pub(super) fn read(permit: &SecretProgramPermit, output: &[u8]) -> Result<Answers, &'static str> {
    let text = std::str::from_utf8(output).map_err(|_| "it is not UTF-8")?;
    let whole = text.strip_suffix('\n').unwrap_or(text);
    let whole = whole.strip_suffix('\r').unwrap_or(whole);
    if let ([id], false) = (permit.ids(), permit.is_json_only())
        && !is_response(whole)
    {
        if whole.is_empty() {
            return Err("it is empty");
        }
        return Ok([(id.clone(), Ok(SecretString::from(whole)))].into());
    }
    let mut response: Response = serde_json::from_str(whole)
        .map_err(|_| "it is not the JSON of an answer, with protocolVersion and values")?;
    if response.protocol_version != VERSION {
        return Err("its protocolVersion is not 1");
    }
    let answer = |id: &String| {
        let answer = match (response.errors.contains_key(id), response.values.remove(id)) {
            (true, _) => {
                Err(format!("{} has no secret {id:?}: it reports an error for it", permit.program()))
            }
            (false, Some(secret)) => Ok(secret),
            (false, None) => Err(format!("{} gave no secret {id:?}", permit.program())),
        };
        (id.clone(), answer)
    };
    Ok(permit.ids().iter().map(answer).collect())
}

/// Whether a text is JSON that says which version of an answer it is. Other JSON may itself be a secret.
fn is_response(text: &str) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Versioned {
        #[expect(dead_code, reason = "only that it is there")]
        protocol_version: serde::de::IgnoredAny,
    }
    serde_json::from_str::<Versioned>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use moltbot_config::settings::SecretsConfig;
    use secrecy::ExposeSecret as _;
    use serde_json::json;

    use super::*;

    fn permit(is_json_only: bool, ids: &[&str]) -> SecretProgramPermit {
        let provider = json!({"source": "exec", "command": "/p", "jsonOnly": is_json_only});
        let config: SecretsConfig = serde_json::from_value(json!({"providers": {"v": provider}})).unwrap();
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        moltbot_policy::secret::program::judge(&config, "v", &ids).unwrap()
    }

    fn told(is_json_only: bool, ids: &[&str], output: &str) -> Result<Vec<String>, &'static str> {
        let answers = read(&permit(is_json_only, ids), output.as_bytes())?;
        let text = |answer: Result<SecretString, String>| match answer {
            Ok(secret) => secret.expose_secret().to_owned(),
            Err(why) => format!("! {why}"),
        };
        Ok(answers.into_values().map(text).collect())
    }

    #[test]
    fn it_is_asked_and_answers_in_the_form_of_existing_programs() {
        let asked: serde_json::Value = serde_json::from_str(&request(&permit(true, &["a/b", "c"]))).unwrap();
        assert_eq!(asked, json!({"protocolVersion": 1, "provider": "v", "ids": ["a/b", "c"]}));
        let answer = json!({"protocolVersion": 1, "values": {"a": "s-a", "z": "unasked"}, "errors": {"b": {"message": "S3CR3T"}}});
        assert_eq!(
            told(true, &["a", "b", "c"], &format!("{answer}\n")).unwrap(),
            ["s-a", "! /p has no secret \"b\": it reports an error for it", "! /p gave no secret \"c\""]
        );
    }

    #[test]
    fn what_is_no_answer_is_refused_and_no_text_is_guessed() {
        const NO_JSON: &str = "it is not the JSON of an answer, with protocolVersion and values";
        for (output, why) in [
            ("", NO_JSON),
            ("s3cret", NO_JSON),
            ("{\"values\":{\"a\":\"x\"}}", NO_JSON),
            ("{\"protocolVersion\":2,\"values\":{}}", "its protocolVersion is not 1"),
            ("{\"protocolVersion\":1,\"values\":{\"a\":5}}", NO_JSON),
            ("{\"protocolVersion\":1,\"values\":{\"a\":\"x\"}} more", NO_JSON),
            ("{\"protocolVersion\":1,\"other\":{}}", NO_JSON),
        ] {
            assert_eq!(told(true, &["a"], output), Err(why), "{output}");
        }
        assert_eq!(read(&permit(true, &["a"]), b"\xff").err(), Some("it is not UTF-8"));
    }

    #[test]
    fn a_program_that_is_asked_for_one_secret_may_print_it_when_its_provider_says_so() {
        assert_eq!(told(false, &["a"], "s3cret\n").unwrap(), ["s3cret"]);
        assert_eq!(
            told(false, &["a"], "{\"type\":\"service_account\"}").unwrap(),
            ["{\"type\":\"service_account\"}"]
        );
        let answer = "{\"protocolVersion\":1,\"values\":{\"a\":\"x\"}}";
        assert_eq!(told(false, &["a"], answer).unwrap(), ["x"]);
        assert_eq!(told(false, &["a"], "\n"), Err("it is empty"));
        assert!(told(false, &["a", "b"], "s3cret\n").is_err(), "of two, which?");
    }
}
