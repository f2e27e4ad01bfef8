-- What a host of schema 2 has made, as far as it is changed later, and three settlements.
CREATE TABLE host_schema (
    version INTEGER NOT NULL
);
INSERT INTO host_schema VALUES (2);
CREATE TABLE host_invoices (
    store VARCHAR(64) NOT NULL,
    payment_hash VARCHAR(64) NOT NULL,
    purpose VARCHAR(32) NOT NULL,
    subject VARCHAR(128) NOT NULL,
    description TEXT NOT NULL,
    comment TEXT NOT NULL,
    external_id TEXT,
    bolt11 TEXT NOT NULL,
    amount_msat BIGINT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (store, payment_hash)
);
CREATE INDEX host_invoices_by_subject ON host_invoices (store, purpose, subject);
CREATE INDEX host_invoices_by_time ON host_invoices (store, created_at);
CREATE TABLE host_settlements (
    store VARCHAR(64) NOT NULL,
    payment_hash VARCHAR(64) NOT NULL,
    number BIGINT NOT NULL,
    purpose VARCHAR(32) NOT NULL,
    subject VARCHAR(128) NOT NULL,
    external_id TEXT,
    amount_msat BIGINT NOT NULL,
    preimage VARCHAR(64),
    paid_at BIGINT NOT NULL,
    recorded_at BIGINT NOT NULL,
    PRIMARY KEY (store, payment_hash),
    UNIQUE (number)
);
CREATE INDEX host_settlements_by_subject ON host_settlements (store, purpose, subject);
CREATE TABLE host_checkouts (
    id VARCHAR(32) NOT NULL,
    store VARCHAR(64) NOT NULL,
    amount_msat BIGINT NOT NULL,
    fiat VARCHAR(64),
    description TEXT NOT NULL,
    external_id TEXT,
    redirect_url TEXT,
    card VARCHAR(32),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    payment_hash VARCHAR(64),
    bolt11 TEXT,
    bolt11_msat BIGINT,
    bolt11_created_at BIGINT,
    bolt11_expires_at BIGINT,
    invoices INTEGER NOT NULL,
    renew_after BIGINT NOT NULL,
    received_msat BIGINT NOT NULL,
    overpaid_msat BIGINT NOT NULL,
    paid_at BIGINT,
    paid_hash VARCHAR(64),
    PRIMARY KEY (id)
);
CREATE INDEX host_checkouts_by_time ON host_checkouts (store, created_at);
CREATE TABLE host_flashcards (
    id VARCHAR(32) NOT NULL,
    store VARCHAR(64) NOT NULL,
    address VARCHAR(32) NOT NULL,
    name TEXT NOT NULL,
    balance_msat BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (address)
);
CREATE INDEX host_flashcards_by_time ON host_flashcards (store, created_at);
CREATE TABLE host_webhook_deliveries (
    id VARCHAR(32) NOT NULL,
    webhook VARCHAR(32) NOT NULL,
    body TEXT NOT NULL,
    status VARCHAR(16) NOT NULL,
    attempts INTEGER NOT NULL,
    due_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    delivered_at BIGINT,
    http_status INTEGER,
    problem TEXT,
    PRIMARY KEY (id)
);
CREATE INDEX host_webhook_deliveries_due ON host_webhook_deliveries (status, due_at);
CREATE INDEX host_webhook_deliveries_by_webhook ON host_webhook_deliveries (webhook, created_at);
INSERT INTO host_settlements VALUES ('shop', '01', 1, 'lnurl', 'shop', NULL, 1000, NULL, 1, 1);
INSERT INTO host_settlements VALUES ('shop', '02', 2, 'lnurl', 'shop', NULL, 2000, NULL, 1, 1);
INSERT INTO host_settlements VALUES ('shop', '03', 3, 'phoenixd', '', NULL, 5, NULL, 1, 1);
