-- Notices to users who have received the collections of a deleted user.
SET LOCAL lock_timeout = '10s';

ALTER TABLE responsa.mail DROP CONSTRAINT mail_kind_check;
ALTER TABLE responsa.mail ADD CONSTRAINT mail_kind_check
    CHECK (kind IN ('register', 'reset', 'change_email', 'email_changed', 'password_changed', 'collections_received'));
