"""The paths and shapes of the systems that Responsa replaces. Each is a row of a table that leads to a call of the contract.

Requests and replies are plain JSON objects: tokens as in OAuth 2.0 (RFC 6749, section 5.1), a user with `id`, `email`,
`name`, `role`, `is_active` and `created_at`, an error as {"detail": …, "code": …}. The status codes are those of the
contract's REST paths.
"""
