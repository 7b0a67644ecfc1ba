"""Public keys that stand in specifications and test suites, most beside their private halves.

A request or proof under one of them could be anyone's, so admission refuses them in production. The
values are SHA-256 over the DER SubjectPublicKeyInfo, as `PublicKey.fingerprint` gives it.
"""

from __future__ import annotations

from typing import Final

PUBLISHED_KEYS: Final = frozenset(
    {
        # RFC 9421 Appendix B.1: test-key-rsa, test-key-rsa-pss, test-key-ed25519.
        "c73eecd318bd3813f2402a660d8a90010ca35d609d19377d5ee7af200713229f",
        "72859cbaf21a0b398b1f25712bbed148b1d85a0c6b824176eb306405caa6f0b2",
        "34571606cb7a0d71be377e671ddcccae2a169ed7733598214129231cd30c4a3c",
        # draft-cavage-http-signatures-12 Appendix C (RSA-1024, so it fails on size as well).
        "6abc29c310d9c042fd93e21828b8178161400a3b78adf0f09d62ac13712eb5fe",
        # RFC 8032 section 7.1: TEST 1 (RFC 8037 Appendix A as well), 2, 3, 1024 and SHA(abc).
        "06e3fd8fda29bb60ab59557de61edb0aecdb231134be30e75b455f8e1b792fa9",
        "deb2ded39dc26fce0e6085b6fc34bf6b5941913bbfe2ea614113cff9e004c170",
        "8d39ba50abe50f77b6bb8ae7b6927aff7ffbeba35ad2837c0e51e82bcbcc60d5",
        "e4f982b51ad0bdd87be820b259fe80337ef636e72b9fa7a8867a6949eb610fd6",
        "e77db4a9572e9f6552c22bc751d5499ad218a73bdf7e15dc6ea0fc69246a44de",
        # FEP-8b32, FEP-c390 and W3C vc-di-eddsa; then the proof sets and chains of the last.
        "d2eaf30fd1eddd11249a69ec46529d28871f0ad11acafb9bc1bb98148ab696e9",
        "bf55ea6d70b78b0bd5a5f9a076f585a88109ae9e5b9724ea567fab20db452099",
        "00d669735bfbfde8ff8587688b6b4ab9a3930483b06b044734b086dcb3f33d42",
        "25ba97f929f59950721bf803688f648ea45cd96af3a1e156e97ce1139f91b6c5",
        "8f6c6283cb30197463aae88199f31ac5a57ad727d2fcf30d30ff1de005cd156c",
        # FEP-521a: the Ed25519 and the RSA example.
        "0c326299d2fa5b9d1bf843a8fce6c946f03cdfc1e429f5431aa9bc202c41c4c1",
        "feabd7bb32ade6a0bbf398c109cab299cfca79d714020f3b291967258d46eb11",
        # RFC 7517 Appendix A.1 and RFC 7638 section 3.1.
        "ad32320cf6c596d884b05381ba573aba8ddd5749b4de8f4a23a79f9a89ddaeb2",
        # This project's own attestation vectors (tests/vectors/attestation/kit.py): two that attest, two
        # that ask and answer.
        "3258db7d41c88bccac2093a205ec39955a85effa0ea191ca9cf33e16124de51d",
        "f91a6499565c4089cf27e27521b382a9cb77df0959e2c01ceb64b8b09c4cbbb8",
        "16d53cca93458e470c8e02591762b72671f91c3c586a60b3aa904cca89f205ec",
        "bf1979f84186c9c0b648a26e3bd6d9e83d4ed08a374747d6a31a49af614fcfb4",
    }
)
