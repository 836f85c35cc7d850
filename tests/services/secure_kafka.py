"""One broker with every kind of listener: what the start-up checks are tried on."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

from tests.services.certificates import Authority
from tests.services.kafka import KafkaBroker

USER, PASSWORD = "shop", "correct-horse"
PLAIN_USER, PLAIN_PASSWORD = "plain-shop", "battery-staple"
_PROTOCOLS = {
    **{name: name for name in ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")},
    **dict.fromkeys(("CONTROLLER", "ELSEWHERE"), "PLAINTEXT"),
    **dict.fromkeys(("OAUTH", "HASTY"), "SASL_PLAINTEXT"),
    "SCRAM256": "SASL_SSL",
    **dict.fromkeys(("MUTUAL", "EXPIRED", "SELFSIGNED"), "SSL"),
}
_TLS = ("SSL", "SASL_SSL", "SCRAM256", "MUTUAL", "EXPIRED", "SELFSIGNED")
SESSION_S = 1.5
"""How long HASTY lets a connection live on one login."""
_PLAIN_JAAS = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{PLAIN_USER}="{PLAIN_PASSWORD}";'
_SCRAM_JAAS = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
_OAUTH_JAAS = (
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required "
    'unsecuredLoginStringClaim_sub="broker";'
)


def unsecured_token(subject: str, life_s: float = 3_600) -> str:
    """A token such as the OAUTH listener takes: claims without a signature, valid for an hour unless said otherwise."""
    now = time.time()
    parts = ({"alg": "none"}, {"sub": subject, "iat": now + min(0, life_s), "exp": now + life_s})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join((*encoded, ""))


def secure_broker(folder: Path, authority: Authority) -> KafkaBroker:
    """SASL_PLAINTEXT has SCRAM-SHA-512 and PLAIN, SASL_SSL only SCRAM-SHA-512, MUTUAL wants a client certificate.

    EXPIRED and SELFSIGNED are TLS listeners with such certificates; all certificates name `localhost` only. OAUTH
    takes unsigned tokens, and so does HASTY, which ends each connection after `SESSION_S`. SCRAM256 is TLS with
    SCRAM-SHA-256 only. ELSEWHERE is unencrypted and sends its clients to a host that nobody knows.
    """
    stores = {name: authority.issue("broker") for name in _TLS}
    stores["EXPIRED"] = authority.issue("expired", age_days=30)
    stores["SELFSIGNED"] = authority.issue_self_signed("self-signed")
    properties = {
        "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in _PROTOCOLS.items()),
        "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
        "listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config": _SCRAM_JAAS,
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": _PLAIN_JAAS,
        "listener.name.sasl_ssl.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": _SCRAM_JAAS,
        "listener.name.oauth.sasl.enabled.mechanisms": "OAUTHBEARER",
        "listener.name.oauth.oauthbearer.sasl.jaas.config": _OAUTH_JAAS,
        "listener.name.hasty.sasl.enabled.mechanisms": "OAUTHBEARER",
        "listener.name.hasty.oauthbearer.sasl.jaas.config": _OAUTH_JAAS,
        "listener.name.hasty.oauthbearer.connections.max.reauth.ms": str(int(SESSION_S * 1000)),
        "listener.name.scram256.sasl.enabled.mechanisms": "SCRAM-SHA-256",
        "listener.name.scram256.scram-sha-256.sasl.jaas.config": _SCRAM_JAAS,
        "listener.name.mutual.ssl.client.auth": "required",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.file),
        # open to all but for resources with an access rule; who did not log in may do everything
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "allow.everyone.if.no.acl.found": "true",
    }
    for name, store in stores.items():
        properties[f"listener.name.{name.lower()}.ssl.keystore.type"] = "PEM"
        properties[f"listener.name.{name.lower()}.ssl.keystore.location"] = str(store)
    return KafkaBroker(
        folder,
        listeners=("SASL_PLAINTEXT", "OAUTH", "HASTY", "ELSEWHERE", *_TLS),
        advertised={"ELSEWHERE": "nowhere.invalid:9092"},
        properties=properties,
        format_args=tuple(
            word
            for mechanism in ("SCRAM-SHA-512", "SCRAM-SHA-256")
            for word in ("--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]")
        ),
        heap="256m",
    )
