"""Talks to /v1 with the official OpenAI library for Python. The model behind the gateway echoes.

Environment: BASE_URL, TOKEN. Prints `passed` at the end; anything else is a failure.
"""
import os

import openai

client = openai.OpenAI(base_url=os.environ["BASE_URL"], api_key=os.environ["TOKEN"], max_retries=0, timeout=60)

answer = client.chat.completions.create(model="moltbot", messages=[{"role": "user", "content": "say one"}], user="python")
assert "say one" in answer.choices[0].message.content, answer
assert answer.choices[0].finish_reason == "stop", answer
assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0, answer

text, finish, usage = "", None, None
stream = client.chat.completions.create(
    model="moltbot:main",
    messages=[{"role": "system", "content": "Be short."}, {"role": "user", "content": [{"type": "text", "text": "say two"}]}],
    stream=True,
    stream_options={"include_usage": True},
)
for chunk in stream:
    for choice in chunk.choices:
        text += choice.delta.content or ""
        finish = choice.finish_reason or finish
    usage = chunk.usage or usage
assert "say two" in text, text
assert finish == "stop" and usage.total_tokens > 0, (finish, usage)

try:
    openai.OpenAI(base_url=os.environ["BASE_URL"], api_key="wrong", max_retries=0).chat.completions.create(
        model="moltbot", messages=[{"role": "user", "content": "x"}])
    raise SystemExit("a wrong token was let in")
except openai.AuthenticationError as error:
    assert error.status_code == 401, error

try:
    client.chat.completions.create(model="moltbot", messages=[{"role": "system", "content": "x"}])
    raise SystemExit("a request without a user message was served")
except openai.BadRequestError as error:
    assert "user message" in str(error), error

if os.environ.get("RESPONSES"):
    answer = client.responses.create(model="moltbot", input="say three", instructions="Be short.")
    assert "say three" in answer.output_text and answer.status == "completed", answer
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0, answer
    with client.responses.stream(model="moltbot", input=[{"role": "user", "content": "say four"}]) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert "say four" in text and final.output_text == text, (text, final)

print("passed")
