-- Made by liftloop/adapters/ledger/fresh_ledger.py from the migrations with the hash cac9acc31c973cb4532cd8c5fced97f26f359f063051211f7b3979ae5311585e
BEGIN IMMEDIATE;
CREATE TABLE auditentry (
	sequence INTEGER NOT NULL, 
	"key" VARCHAR NOT NULL, 
	at DATETIME NOT NULL, 
	actor VARCHAR NOT NULL, 
	act VARCHAR NOT NULL, 
	subject VARCHAR NOT NULL, 
	payload TEXT NOT NULL, 
	previous_hash VARCHAR NOT NULL, 
	hash VARCHAR NOT NULL, 
	CONSTRAINT pk_auditentry PRIMARY KEY (sequence), 
	CONSTRAINT uq_auditentry_key UNIQUE ("key")
);
CREATE TABLE audithead (
	id INTEGER NOT NULL, 
	entries INTEGER NOT NULL, 
	hash VARCHAR NOT NULL, 
	signed_entries INTEGER NOT NULL, 
	signed_hash VARCHAR NOT NULL, 
	signature VARCHAR NOT NULL, 
	CONSTRAINT pk_audithead PRIMARY KEY (id)
);
CREATE TABLE decision (
	id VARCHAR NOT NULL, 
	sequence INTEGER NOT NULL, 
	kind VARCHAR NOT NULL, 
	as_of DATE NOT NULL, 
	effective_from DATE NOT NULL, 
	state VARCHAR NOT NULL, 
	policy_version VARCHAR NOT NULL, 
	previous_policy_version VARCHAR NOT NULL, 
	proposal_id VARCHAR, 
	rollout_id VARCHAR, 
	training_key VARCHAR, 
	facts TEXT NOT NULL, 
	settings_hash VARCHAR NOT NULL, 
	expected_gain FLOAT NOT NULL, 
	gain_low FLOAT NOT NULL, 
	gain_high FLOAT NOT NULL, 
	reason TEXT NOT NULL, 
	evidence TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_decision PRIMARY KEY (id), 
	CONSTRAINT fk_decision_policy_version_policyversion FOREIGN KEY(policy_version) REFERENCES policyversion (version), 
	CONSTRAINT fk_decision_previous_policy_version_policyversion FOREIGN KEY(previous_policy_version) REFERENCES policyversion (version)
);
CREATE TABLE decisionline (
	decision_id VARCHAR NOT NULL, 
	segment VARCHAR NOT NULL, 
	channel VARCHAR NOT NULL, 
	daily_cents BIGINT NOT NULL, 
	previous_cents BIGINT NOT NULL, 
	stage VARCHAR NOT NULL, 
	expected FLOAT, 
	expected_low FLOAT, 
	expected_high FLOAT, 
	reason TEXT NOT NULL, 
	idempotency_key VARCHAR NOT NULL, 
	CONSTRAINT pk_decisionline PRIMARY KEY (decision_id, segment, channel), 
	CONSTRAINT fk_decisionline_decision_id_decision FOREIGN KEY(decision_id) REFERENCES decision (id), 
	CONSTRAINT uq_decisionline_idempotency_key UNIQUE (idempotency_key)
);
CREATE TABLE delivery (
	id VARCHAR NOT NULL, 
	feed VARCHAR NOT NULL, 
	filename VARCHAR NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	importer VARCHAR NOT NULL, 
	received_at DATETIME NOT NULL, 
	rows_read INTEGER NOT NULL, 
	received INTEGER NOT NULL, 
	stored INTEGER NOT NULL, 
	superseded INTEGER NOT NULL, 
	quarantined INTEGER NOT NULL, 
	state VARCHAR NOT NULL, 
	facts_version INTEGER, 
	notes TEXT NOT NULL, 
	CONSTRAINT pk_delivery PRIMARY KEY (id)
);
CREATE TABLE experimentrecord (
	name VARCHAR NOT NULL, 
	channel VARCHAR NOT NULL, 
	starts_on DATE NOT NULL, 
	ends_on DATE NOT NULL, 
	"plan" TEXT NOT NULL, 
	promise TEXT NOT NULL, 
	actor VARCHAR NOT NULL, 
	created_at DATETIME NOT NULL, 
	state VARCHAR NOT NULL, 
	stopped_on DATE, 
	stopped_at DATETIME, 
	reason TEXT NOT NULL, 
	result TEXT NOT NULL, 
	CONSTRAINT pk_experimentrecord PRIMARY KEY (name)
);
CREATE TABLE factscommit (
	feed VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	version INTEGER NOT NULL, 
	log_sha256 VARCHAR NOT NULL, 
	files TEXT NOT NULL, 
	CONSTRAINT pk_factscommit PRIMARY KEY (feed, kind, version)
);
CREATE TABLE liftloop_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT liftloop_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "liftloop_version" VALUES('0011');
CREATE TABLE message (
	"key" VARCHAR NOT NULL, 
	sequence INTEGER NOT NULL, 
	kind VARCHAR NOT NULL, 
	text TEXT NOT NULL, 
	blocks TEXT NOT NULL, 
	state VARCHAR NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_message PRIMARY KEY ("key")
);
CREATE TABLE messagereceipt (
	message_key VARCHAR NOT NULL, 
	channel VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	attempts INTEGER NOT NULL, 
	problem TEXT NOT NULL, 
	CONSTRAINT pk_messagereceipt PRIMARY KEY (message_key, channel), 
	CONSTRAINT fk_messagereceipt_message_key_message FOREIGN KEY(message_key) REFERENCES message ("key")
);
CREATE TABLE monitorverdict (
	"key" VARCHAR NOT NULL, 
	as_of DATE NOT NULL, 
	drifted BOOLEAN NOT NULL, 
	summary TEXT NOT NULL, 
	evidence TEXT NOT NULL, 
	report VARCHAR, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_monitorverdict PRIMARY KEY ("key")
);
CREATE TABLE pause (
	id VARCHAR NOT NULL, 
	segment VARCHAR NOT NULL, 
	channel VARCHAR NOT NULL, 
	reason TEXT NOT NULL, 
	actor VARCHAR NOT NULL, 
	since DATETIME NOT NULL, 
	lifted_at DATETIME, 
	CONSTRAINT pk_pause PRIMARY KEY (id)
);
CREATE TABLE platformbreaker (
	platform VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	failures INTEGER NOT NULL, 
	successes INTEGER NOT NULL, 
	opened_at DATETIME, 
	CONSTRAINT pk_platformbreaker PRIMARY KEY (platform)
);
CREATE TABLE platformwrite (
	platform VARCHAR NOT NULL, 
	decision_id VARCHAR NOT NULL, 
	segment VARCHAR NOT NULL, 
	channel VARCHAR NOT NULL, 
	sequence INTEGER NOT NULL, 
	idempotency_key VARCHAR NOT NULL, 
	wanted_cents BIGINT NOT NULL, 
	state VARCHAR NOT NULL, 
	attempts INTEGER NOT NULL, 
	found_cents BIGINT, 
	read_back_cents BIGINT, 
	last_error TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	attempted_at DATETIME, 
	settled_at DATETIME, 
	CONSTRAINT pk_platformwrite PRIMARY KEY (platform, decision_id, segment, channel), 
	CONSTRAINT fk_platformwrite_decision_id_decision FOREIGN KEY(decision_id) REFERENCES decision (id)
);
CREATE TABLE playbooknote (
	id VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	text TEXT NOT NULL, 
	starts_on DATE NOT NULL, 
	ends_on DATE NOT NULL, 
	segment VARCHAR NOT NULL, 
	channel VARCHAR NOT NULL, 
	about VARCHAR NOT NULL, 
	actor VARCHAR NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_playbooknote PRIMARY KEY (id)
);
CREATE TABLE policybudget (
	version VARCHAR NOT NULL, 
	segment VARCHAR NOT NULL, 
	channel VARCHAR NOT NULL, 
	daily_cents BIGINT NOT NULL, 
	CONSTRAINT pk_policybudget PRIMARY KEY (version, segment, channel), 
	CONSTRAINT fk_policybudget_version_policyversion FOREIGN KEY(version) REFERENCES policyversion (version)
);
CREATE TABLE policyversion (
	version VARCHAR NOT NULL, 
	created_at DATETIME NOT NULL, 
	origin VARCHAR NOT NULL, 
	CONSTRAINT pk_policyversion PRIMARY KEY (version)
);
CREATE TABLE proposal (
	id VARCHAR NOT NULL, 
	as_of DATE NOT NULL, 
	policy_version VARCHAR NOT NULL, 
	previous_policy_version VARCHAR NOT NULL, 
	training_key VARCHAR, 
	facts TEXT NOT NULL, 
	settings_hash VARCHAR NOT NULL, 
	expected_gain FLOAT NOT NULL, 
	gain_low FLOAT NOT NULL, 
	gain_high FLOAT NOT NULL, 
	share_moved FLOAT NOT NULL, 
	cells TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_proposal PRIMARY KEY (id), 
	CONSTRAINT fk_proposal_policy_version_policyversion FOREIGN KEY(policy_version) REFERENCES policyversion (version), 
	CONSTRAINT fk_proposal_previous_policy_version_policyversion FOREIGN KEY(previous_policy_version) REFERENCES policyversion (version)
);
CREATE TABLE quarantinedrow (
	delivery_id VARCHAR NOT NULL, 
	row_number INTEGER NOT NULL, 
	feed VARCHAR NOT NULL, 
	rules VARCHAR NOT NULL, 
	"row" TEXT NOT NULL, 
	state VARCHAR NOT NULL, 
	resolved_by VARCHAR, 
	CONSTRAINT pk_quarantinedrow PRIMARY KEY (delivery_id, row_number), 
	CONSTRAINT fk_quarantinedrow_delivery_id_delivery FOREIGN KEY(delivery_id) REFERENCES delivery (id)
);
CREATE TABLE rolloutrecord (
	id VARCHAR NOT NULL, 
	challenger_version VARCHAR NOT NULL, 
	incumbent_version VARCHAR NOT NULL, 
	canary_segments TEXT NOT NULL, 
	control_segments TEXT NOT NULL, 
	seed INTEGER NOT NULL, 
	started_on DATE NOT NULL, 
	stage VARCHAR NOT NULL, 
	created_at DATETIME NOT NULL, design TEXT DEFAULT '{}' NOT NULL, 
	CONSTRAINT pk_rolloutrecord PRIMARY KEY (id), 
	CONSTRAINT fk_rolloutrecord_challenger_version_policyversion FOREIGN KEY(challenger_version) REFERENCES policyversion (version), 
	CONSTRAINT fk_rolloutrecord_incumbent_version_policyversion FOREIGN KEY(incumbent_version) REFERENCES policyversion (version)
);
CREATE TABLE rollouttransition (
	"key" VARCHAR NOT NULL, 
	rollout_id VARCHAR NOT NULL, 
	sequence INTEGER NOT NULL, 
	as_of DATE NOT NULL, 
	from_stage VARCHAR NOT NULL, 
	to_stage VARCHAR NOT NULL, 
	act VARCHAR NOT NULL, 
	reason TEXT NOT NULL, 
	evidence TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_rollouttransition PRIMARY KEY ("key"), 
	CONSTRAINT fk_rollouttransition_rollout_id_rolloutrecord FOREIGN KEY(rollout_id) REFERENCES rolloutrecord (id)
);
CREATE TABLE signin (
	token_hash VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	created_at DATETIME NOT NULL, 
	expires_at DATETIME NOT NULL, 
	ended_at DATETIME, 
	CONSTRAINT pk_signin PRIMARY KEY (token_hash), 
	CONSTRAINT fk_signin_name_useraccount FOREIGN KEY(name) REFERENCES useraccount (name)
);
CREATE TABLE training (
	"key" VARCHAR NOT NULL, 
	as_of DATE NOT NULL, 
	door VARCHAR NOT NULL, 
	model_name VARCHAR NOT NULL, 
	model_version VARCHAR, 
	run_id VARCHAR, 
	facts TEXT NOT NULL, 
	metrics TEXT NOT NULL, 
	state VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	created_at DATETIME NOT NULL, examination TEXT DEFAULT '{}' NOT NULL, 
	CONSTRAINT pk_training PRIMARY KEY ("key")
);
CREATE TABLE useraccount (
	name VARCHAR NOT NULL, 
	role VARCHAR NOT NULL, 
	password_hash TEXT NOT NULL, 
	state VARCHAR NOT NULL, 
	approve_limit_cents BIGINT, 
	failures INTEGER NOT NULL, 
	locked_until DATETIME, 
	created_at DATETIME NOT NULL, 
	created_by VARCHAR NOT NULL, 
	CONSTRAINT pk_useraccount PRIMARY KEY (name)
);
CREATE TABLE varianttestrecord (
	name VARCHAR NOT NULL, 
	channel VARCHAR NOT NULL, 
	starts_on DATE NOT NULL, 
	ends_on DATE NOT NULL, 
	"plan" TEXT NOT NULL, 
	design TEXT NOT NULL, 
	actor VARCHAR NOT NULL, 
	created_at DATETIME NOT NULL, 
	state VARCHAR NOT NULL, 
	ended_on DATE, 
	winner VARCHAR NOT NULL, 
	reason TEXT NOT NULL, 
	changes TEXT NOT NULL, 
	CONSTRAINT pk_varianttestrecord PRIMARY KEY (name)
);
CREATE TABLE varianttestreview (
	id VARCHAR NOT NULL, 
	test VARCHAR NOT NULL, 
	as_of DATE NOT NULL, 
	facts VARCHAR NOT NULL, 
	reading TEXT NOT NULL, 
	shares TEXT NOT NULL, 
	sentence TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_varianttestreview PRIMARY KEY (id)
);
CREATE INDEX ix_auditentry_subject ON auditentry (subject);
CREATE INDEX ix_delivery_feed ON delivery (feed);
CREATE INDEX ix_delivery_sha256 ON delivery (sha256);
CREATE UNIQUE INDEX ix_message_sequence ON message (sequence);
CREATE INDEX ix_decision_effective_from ON decision (effective_from);
CREATE INDEX ix_decision_proposal_id ON decision (proposal_id);
CREATE UNIQUE INDEX ix_decision_sequence ON decision (sequence);
CREATE INDEX ix_quarantinedrow_feed ON quarantinedrow (feed);
CREATE INDEX ix_rolloutrecord_stage ON rolloutrecord (stage);
CREATE INDEX ix_rollouttransition_rollout_id ON rollouttransition (rollout_id);
CREATE INDEX ix_platformwrite_idempotency_key ON platformwrite (idempotency_key);
CREATE INDEX ix_platformwrite_state ON platformwrite (state);
CREATE INDEX ix_experimentrecord_state ON experimentrecord (state);
CREATE INDEX ix_signin_name ON signin (name);
CREATE INDEX ix_playbooknote_about ON playbooknote (about);
CREATE INDEX ix_playbooknote_kind ON playbooknote (kind);
CREATE INDEX ix_varianttestrecord_state ON varianttestrecord (state);
CREATE INDEX ix_varianttestreview_test ON varianttestreview (test);
COMMIT;
