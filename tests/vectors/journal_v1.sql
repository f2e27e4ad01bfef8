-- What schema version 1 left behind in SQLite, written down once and never changed: an account with two invoices, one of
-- them settled, and a payment.
CREATE TABLE flash_journal (version INTEGER NOT NULL);
INSERT INTO flash_journal VALUES (1);
CREATE TABLE flash_accounts (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    scope VARCHAR NOT NULL UNIQUE,
    journal_id VARCHAR NOT NULL,
    last_settle_index BIGINT NOT NULL
);
INSERT INTO flash_accounts VALUES (1, 'account', '0123456789ab', 1);
CREATE TABLE flash_logins (
    fingerprint VARCHAR NOT NULL PRIMARY KEY,
    account BIGINT NOT NULL REFERENCES flash_accounts (id)
);
INSERT INTO flash_logins VALUES ('fingerprint', 1);
CREATE TABLE flash_invoices (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    account BIGINT NOT NULL REFERENCES flash_accounts (id),
    payment_hash VARCHAR NOT NULL,
    bolt11 VARCHAR NOT NULL,
    wallet_id VARCHAR NOT NULL,
    currency VARCHAR NOT NULL,
    amount_msat BIGINT,
    cents VARCHAR,
    description VARCHAR NOT NULL,
    created_at DATETIME NOT NULL,
    expires_at DATETIME NOT NULL,
    status VARCHAR(16) NOT NULL,
    settle_index BIGINT,
    paid_at DATETIME,
    amount_received_msat BIGINT,
    preimage VARCHAR,
    UNIQUE (account, payment_hash),
    UNIQUE (account, settle_index)
);
CREATE INDEX flash_invoices_pending ON flash_invoices (account, status, expires_at, id);
INSERT INTO flash_invoices VALUES
    (1, 1, '0000000000000000000000000000000000000000000000000000000000000001', 'lnbcrt1',
     '00000000-0000-0000-0000-000000000001', 'USD', 1000, '1.230', 'coffee', '2026-05-17 12:00:00.000000',
     '2026-05-17 12:01:01.000000', 'paid', 1, '2026-05-17 12:00:05.000000', 1000, NULL),
    (2, 1, '0000000000000000000000000000000000000000000000000000000000000002', 'lnbcrt2',
     '00000000-0000-0000-0000-000000000001', 'USD', 2000, '1.230', 'tea', '2026-05-17 12:00:00.000000',
     '2026-05-17 12:01:02.000000', 'unpaid', NULL, NULL, NULL, NULL);
CREATE TABLE flash_payments (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    account BIGINT NOT NULL REFERENCES flash_accounts (id),
    payment_hash VARCHAR NOT NULL,
    attempt INTEGER NOT NULL,
    bolt11 VARCHAR NOT NULL,
    wallet_id VARCHAR NOT NULL,
    amount_msat BIGINT NOT NULL,
    created_at DATETIME NOT NULL,
    idempotency_key VARCHAR,
    cents VARCHAR,
    status VARCHAR(16) NOT NULL,
    fee_msat BIGINT,
    preimage VARCHAR,
    failure VARCHAR,
    UNIQUE (account, payment_hash, attempt)
);
INSERT INTO flash_payments VALUES
    (1, 1, '0000000000000000000000000000000000000000000000000000000000000007', 1, 'lnbcrt7',
     '00000000-0000-0000-0000-000000000001', 7000, '2026-05-17 12:00:00.000000', 'key', NULL, 'complete', NULL, NULL,
     NULL);
