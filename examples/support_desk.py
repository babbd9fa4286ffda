"""A support desk: models of OpenAI and Anthropic answer the tickets of two customers.

The application uses the vendors' packages, and InfraPrism only to attribute calls to customers. Run it with

    opentelemetry-instrument python support_desk.py

It reads the vendors' environment variables: OPENAI_API_KEY, OPENAI_BASE_URL, ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL.
Calls to a vendor without a key are skipped.
"""

import json
import os

import anthropic
import openai

from infraprism.instrumentation import attribution

CHAT_MODEL = os.environ.get("SUPPORT_CHAT_MODEL", "gpt-4o-mini")
URGENT_MODEL = os.environ.get("SUPPORT_URGENT_MODEL", "gpt-4.1-mini")
TRIAGE_MODEL = os.environ.get("SUPPORT_TRIAGE_MODEL", "gpt-5-nano")
EMBEDDING_MODEL = os.environ.get("SUPPORT_EMBEDDING_MODEL", "text-embedding-3-small")
REVIEW_MODEL = os.environ.get("SUPPORT_REVIEW_MODEL", "claude-haiku-4-5")

POLICY = "You work at the support desk of a web shop. Answer in two or three friendly sentences."
ORDERS = {"48213": "left the warehouse on Monday, arrives on Thursday"}
ORDER_TOOL = {
    "type": "function",
    "function": {
        "name": "order_status",
        "description": "Where an order is",
        "parameters": {
            "type": "object",
            "properties": {"order": {"type": "string", "description": "The order's number"}},
            "required": ["order"],
        },
    },
}


def order_status(order: str) -> str:
    """Look up an order in the database of the shop."""
    number = "".join(character for character in order if character.isdigit())
    return ORDERS.get(number, "unknown order")


def triage(client: openai.OpenAI, ticket: str) -> str:
    """Return the topic of a ticket in two words."""
    response = client.responses.create(model=TRIAGE_MODEL, instructions="Name the topic in two words.", input=ticket)
    return response.output_text


def similar_tickets(client: openai.OpenAI, ticket: str) -> int:
    """Embed a ticket, to find similar ones. Returns the number of dimensions."""
    return len(client.embeddings.create(model=EMBEDDING_MODEL, input=ticket).data[0].embedding)


def answer_with_tools(client: openai.OpenAI, ticket: str) -> str:
    """Let the model look up the order, then stream its response."""
    messages = [{"role": "system", "content": POLICY}, {"role": "user", "content": ticket}]
    message = client.chat.completions.create(model=CHAT_MODEL, messages=messages, tools=[ORDER_TOOL]).choices[0].message
    messages.append(message)
    for call in message.tool_calls or []:
        status = order_status(json.loads(call.function.arguments)["order"])
        messages.append({"role": "tool", "tool_call_id": call.id, "content": status})
    stream = client.chat.completions.create(
        model=CHAT_MODEL,
        messages=messages,
        tools=[ORDER_TOOL],
        stream=True,
        stream_options={"include_usage": True},
    )
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def answer_urgent(client: openai.OpenAI, ticket: str) -> str:
    """Use the larger model, or the default one if the larger one is rate-limited."""
    messages = [{"role": "system", "content": POLICY}, {"role": "user", "content": ticket}]
    try:
        completion = client.chat.completions.create(model=URGENT_MODEL, messages=messages)
    except openai.RateLimitError:
        completion = client.chat.completions.create(model=CHAT_MODEL, messages=messages)
    return completion.choices[0].message.content or ""


def review(client: anthropic.Anthropic, ticket: str, answer: str) -> str:
    """Review the answer with a model of another vendor."""
    message = client.messages.create(
        model=REVIEW_MODEL,
        max_tokens=300,
        system=[{"type": "text", "text": POLICY, "cache_control": {"type": "ephemeral"}}],
        messages=[{"role": "user", "content": f"Is this a good answer?\nTicket: {ticket}\nAnswer: {answer}"}],
    )
    return message.content[0].text


def follow_up(client: anthropic.Anthropic, ticket: str) -> str:
    """Stream a message that asks whether the problem is solved."""
    prompt = f"Ask the customer whether this is solved: {ticket}"
    with client.messages.stream(
        model=REVIEW_MODEL, max_tokens=300, messages=[{"role": "user", "content": prompt}]
    ) as stream:
        return "".join(stream.text_stream)


def main() -> None:
    """Answer the tickets."""
    chat = openai.OpenAI() if os.environ.get("OPENAI_API_KEY") else None
    claude = anthropic.Anthropic() if os.environ.get("ANTHROPIC_API_KEY") else None

    late = "My order 48213 should have been here on Tuesday. Where is it? - Maria Keller, maria@example.com"
    with attribution(customer="acme-corp", session_id="ticket-1041", tags={"feature": "orders", "channel": "email"}):
        answer = ""
        if chat:
            print("topic:", triage(chat, late))
            print("vector:", similar_tickets(chat, late), "numbers")
            print("answer:", answer := answer_with_tools(chat, late))
        if claude:
            print("review:", review(claude, late, answer))
            print("follow-up:", follow_up(claude, late))

    down = "Our shop has been offline for an hour and nobody answers the phone! Account 7731, Jonas Weber"
    with attribution(customer="globex", tags={"feature": "incidents", "channel": "chat"}):
        if chat:
            print("urgent answer:", answer := answer_urgent(chat, down))
        if claude:
            print("review:", review(claude, down, answer))


if __name__ == "__main__":
    main()
