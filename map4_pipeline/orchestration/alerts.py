"""Tell somebody that a run failed: the log always, an address and a mailbox where settings name them."""

import json
import smtplib
import urllib.request
from email.message import EmailMessage
from urllib.parse import parse_qs, unquote, urlsplit

from map4_pipeline.settings import Settings

_SECONDS = 10


def send_alerts(settings: Settings, subject: str, text: str) -> list[str]:
    """Send an alert wherever the settings say; return what went wrong, a sentence each, without an address's secrets."""
    problems = []
    for name, secret, send in (
        ("MAP4_ALERT_WEBHOOK", settings.alert_webhook, _post),
        ("MAP4_ALERT_MAIL", settings.alert_mail, _mail),
    ):
        if secret is None:
            continue
        try:
            send(secret.get_secret_value(), subject, text)
        except (OSError, ValueError, smtplib.SMTPException) as error:
            problems.append(f"The alert to {name} could not be sent: {type(error).__name__}.")
    return problems


def _post(address: str, subject: str, text: str) -> None:
    if urlsplit(address).scheme not in ("http", "https"):
        raise ValueError("no web address")
    body = json.dumps({"text": f"{subject}\n{text}"}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=_SECONDS):
        pass


def _mail(address: str, subject: str, text: str) -> None:
    parts = urlsplit(address)
    query = parse_qs(parts.query)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or "to" not in query:
        raise ValueError("not of the form smtp://host?to=address")
    message = EmailMessage()
    message["Subject"], message["To"] = subject, ", ".join(query["to"])
    message["From"] = query.get("from", query["to"])[0]
    message.set_content(text)
    connect = smtplib.SMTP_SSL if parts.scheme == "smtps" else smtplib.SMTP
    with connect(parts.hostname, parts.port or 0, timeout=_SECONDS) as server:
        if parts.scheme == "smtp" and server.has_extn("starttls"):
            server.starttls()
            server.ehlo()
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))
        server.send_message(message)
