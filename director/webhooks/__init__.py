"""Webhooks: how Applications hear of the Runtimes that they serve.

- `settings` keeps where each Application hears, and the sealed secret that its notices are signed by
- `outbox` writes notices in the transaction of the change that they are about
- `delivery` carries them to the Applications, with retries that survive restarts
"""
