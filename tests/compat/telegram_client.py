"""Uses the stand-in of the Telegram Bot API with python-telegram-bot, which other people wrote.

Environment: ROOT, TOKEN, PERSON (who has written "hello" and then pressed a button, after the next id's person wrote and
blocked the bot), GROUP, FILE (what file-1 has in it). The first calls of setMyCommands and getFile fail. Prints `passed`
at the end; anything else is a failure.
"""
import asyncio
import os

from telegram import Bot, BotCommand, InlineKeyboardButton, InlineKeyboardMarkup, LinkPreviewOptions, ReplyParameters
from telegram.constants import ChatAction, ParseMode
from telegram.error import BadRequest, Conflict, Forbidden, InvalidToken, NetworkError, RetryAfter
from telegram.request import HTTPXRequest

root, person, group = os.environ["ROOT"], int(os.environ["PERSON"]), int(os.environ["GROUP"])


def bot_with(token):
    request = lambda: HTTPXRequest(read_timeout=30, httpx_kwargs={"trust_env": False})
    return Bot(token, base_url=root + "/bot", base_file_url=root + "/file/bot", request=request(), get_updates_request=request())


async def refused(kind, words, call):
    try:
        await call
    except kind as error:
        assert words.lower() in str(error).lower(), (words, str(error))
        return error
    raise SystemExit(f"{kind.__name__} was expected: {words}")


async def talk(bot):
    me = await bot.get_me()
    assert (me.id, me.username, me.is_bot) == (7_000_000_001, "stand_in_bot", True), me
    updates = await bot.get_updates(timeout=1, allowed_updates=["message", "callback_query", "edited_message"])
    assert [update.effective_user.id for update in updates] == [person + 1, person, person], updates
    _, hello, press = updates
    assert hello.message.text == "hello" and hello.message.chat.type == "private", hello
    assert await bot.get_updates(timeout=0) == updates, "what is not confirmed is told again"
    assert await bot.get_updates(timeout=0, offset=press.update_id) == (press,), "a later offset confirms"
    assert await bot.answer_callback_query(press.callback_query.id, text="done")
    assert await bot.get_updates(timeout=0, offset=press.update_id + 1) == (), "everything is confirmed"

    buttons = InlineKeyboardMarkup([[InlineKeyboardButton("yes", callback_data="y"), InlineKeyboardButton("no", callback_data="n")]])
    sent = await bot.send_message(
        person, "<b>bold</b> &amp; <a href=\"https://example.org/\">link</a>", parse_mode=ParseMode.HTML,
        reply_markup=buttons, reply_parameters=ReplyParameters(hello.message.message_id),
        link_preview_options=LinkPreviewOptions(is_disabled=True))
    assert sent.text == "bold & link" and sent.chat.id == person, sent
    edited = await bot.edit_message_text("changed", chat_id=person, message_id=sent.message_id)
    assert edited.text == "changed", edited
    topic = await bot.send_message(group, "in a topic", message_thread_id=7)
    assert topic.message_thread_id == 7 and topic.is_topic_message, topic
    assert await bot.send_chat_action(person, ChatAction.TYPING)
    await refused(NetworkError, "", bot.set_my_commands([]))
    assert await bot.set_my_commands([BotCommand("help", "What there is")])
    await refused(RetryAfter, "3", bot.get_file("file-1"))
    file = await bot.get_file("file-1")
    assert bytes(await file.download_as_bytearray()) == os.environ["FILE"].encode(), file

    await refused(BadRequest, "can't parse entities", bot.send_message(person, "<b>x", parse_mode=ParseMode.HTML))
    await refused(BadRequest, "too long", bot.send_message(person, "😀" * 2049))
    assert await bot.send_message(person, "😀" * 2048)
    await refused(BadRequest, "Chat not found", bot.send_message(4711, "x"))
    await refused(BadRequest, "not modified", bot.edit_message_text("changed", chat_id=person, message_id=sent.message_id))
    await refused(BadRequest, "has no parameter", bot.send_message(person, "x", api_kwargs={"colour": "red"}))
    await refused(Forbidden, "blocked", bot.send_message(person + 1, "x"))

    older = asyncio.create_task(bot.get_updates(timeout=20))
    await asyncio.sleep(0.3)
    assert await bot.get_updates(timeout=0) == ()
    await refused(Conflict, "terminated by other getUpdates", older)
    await refused(BadRequest, "HTTPS", bot.set_webhook("http://example.org/hook"))
    await refused(BadRequest, "unallowed characters", bot.set_webhook("https://example.org/hook", secret_token="s3cret!"))
    await refused(BadRequest, "max_connections", bot.set_webhook("https://example.org/hook", max_connections=0))
    assert await bot.set_webhook(
        "https://example.org/hook", secret_token="s3cret", allowed_updates=["message"], max_connections=1, drop_pending_updates=False)
    info = await bot.get_webhook_info()
    assert (info.url, info.pending_update_count, info.allowed_updates) == ("https://example.org/hook", 0, ("message",)), info
    await refused(Conflict, "webhook is active", bot.get_updates(timeout=0))
    assert await bot.delete_webhook()
    assert (await bot.get_webhook_info()).url == ""


async def main():
    async with bot_with(os.environ["TOKEN"]) as bot:
        await talk(bot)
    wrong = bot_with(os.environ["TOKEN"] + "x")
    await refused(InvalidToken, "", wrong.initialize())
    print("passed")


asyncio.run(main())
