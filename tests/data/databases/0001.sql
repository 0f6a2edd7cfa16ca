-- A database as the first release left it (revision 0001), written by its own code, with rows in every state;
-- the key ring is a: bytes 0 to 31.
BEGIN TRANSACTION;
CREATE TABLE plexlink_attempts (
	id VARCHAR(22) NOT NULL, 
	user_id BIGINT NOT NULL, 
	guild_id BIGINT, 
	device_name VARCHAR(64) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	reason VARCHAR(16), 
	requested_at VARCHAR(32) NOT NULL, 
	deadline_at VARCHAR(32), 
	ended_at VARCHAR(32), 
	client_identifier_envelope TEXT, 
	pin_id_envelope TEXT, 
	user_code_envelope TEXT, 
	token_envelope TEXT, 
	shown_state VARCHAR(16), 
	lane VARCHAR(8), 
	channel_id BIGINT, 
	message_id BIGINT, 
	answer_token_envelope TEXT, 
	answer_message_id BIGINT, 
	answer_at VARCHAR(32), 
	PRIMARY KEY (id)
);
INSERT INTO "plexlink_attempts" VALUES('attempt-01xxxxxxxxxxxx',1,7,'Discord: member via PlexLink','requested',NULL,'2026-11-23T12:00:00.000000+00:00',NULL,NULL,'plk1:a:atMiCvdQyoGK7XP6LKnXnYoG1nj1CULIn6apGLQ9wLvjEPvj388Dt7kwhTrhAGdn6qk=',NULL,NULL,NULL,NULL,NULL,NULL,NULL,'plk1:a:8LxttOjdSBrA1aVUWn4vgM8NrmWb27TR1EsM5v3Sfx4dz-JGB0JbOLRFeFZV3Jmn3cwRynUk2w==',12,'2026-11-23T12:00:00.000000+00:00');
INSERT INTO "plexlink_attempts" VALUES('attempt-02xxxxxxxxxxxx',2,7,'Discord: member via PlexLink','pending',NULL,'2026-11-23T12:00:00.000000+00:00','2026-11-23T12:15:00.000000+00:00',NULL,'plk1:a:lB88WKDNcAJFKY7apC1fwurGlybY14lbzhfPbnkj4gP7q-VUXZMU7n_kIxj5aRP0J0g=','plk1:a:CnrPS7p2yxKBYAktGqHTzi4QOQ71xgKIxUGDm1K1YiW8','plk1:a:uzOQAuXAoBI6iH-8IUjl-PiMq77FTmELvK5FATV-IOA=',NULL,'waiting','dm',20,21,'plk1:a:-K09pSZYa9PplNbz24kGFnSIckc3Fwdc-f5-_Ke24WtmDDR8VYnjYqF4sb6I3nTbufK6gmSgwg==',22,'2026-11-23T12:00:00.000000+00:00');
INSERT INTO "plexlink_attempts" VALUES('attempt-03xxxxxxxxxxxx',3,7,'Discord: member via PlexLink','pending',NULL,'2026-11-23T12:00:00.000000+00:00','2026-11-23T12:15:00.000000+00:00',NULL,'plk1:a:imV0q_xB1Ch0mt5SUV51aCExlOIDmSd-CKc3mujxtgj-uvmJzmfHfRJ6gJrb_ERbBjw=','plk1:a:m_JyodkQ8X7yw9w8OBBFNn_3p78Xy7zqyMuAutvK8zKo','plk1:a:hbIZ8UbO6ADbYD-dJmtb8yRpuB4MFrf3bFK0CGLsOTU=',NULL,'waiting','answer',NULL,NULL,'plk1:a:VgTs3JR8nwVlIgl_QmSHooES5TNK_uBjwqpSxSHK_-DPTV2YkvG6L7sMIJSTApt2TRSQW6nxTw==',32,'2026-11-23T12:00:00.000000+00:00');
INSERT INTO "plexlink_attempts" VALUES('attempt-04xxxxxxxxxxxx',4,7,'Discord: member via PlexLink','pending',NULL,'2026-11-23T12:00:00.000000+00:00','2026-11-23T12:15:00.000000+00:00',NULL,'plk1:a:c02NAmE7jhs_Mgi9W43A9PgBMf5RhlwKDelV23bY4NW9q8rbMcV1_M6shxuMEDAEG5c=','plk1:a:cG-_7yWmi6JiU0zZo2QuOp74AYA2s8hTbcqh723ZXddS','plk1:a:V3VY645gsMge747wdT_aCAPJZ9J0B3-alxKRFFC1G3E=',NULL,'unsure','dm',40,41,NULL,NULL,NULL);
INSERT INTO "plexlink_attempts" VALUES('attempt-05xxxxxxxxxxxx',5,7,'Discord: member via PlexLink','approved',NULL,'2026-11-23T12:00:00.000000+00:00','2026-11-23T12:15:00.000000+00:00',NULL,'plk1:a:YWVS5GoFGKOTkZr9oX1u2jm_0Jtq4kYrh3CbTThwcQJCDsVcyLgJWjiJ7LK7oViteD8=',NULL,NULL,'plk1:a:vlcHcriqOOOUvKQbsPLkBE09D1Pex7qeZFvsgVuK4r09nu9b3obVodZmyy_isQoafw==','waiting','dm',50,51,NULL,NULL,NULL);
INSERT INTO "plexlink_attempts" VALUES('attempt-06xxxxxxxxxxxx',6,7,'Discord: member via PlexLink','approved',NULL,'2026-11-23T12:00:00.000000+00:00','2026-11-23T12:15:00.000000+00:00',NULL,'plk1:a:fzjIZGkumvoS1Z6J868eakJXcKX2x9Jf3NF76xg1YkivirfR03UT9ehTGcDmb0_Hl38=',NULL,NULL,'plk1:a:23dH0avk_6mBfleTeZTzTn3z-D7R7-UbKyI0AuMiDhR2pJkbPkoFHwL-ILgHpDtTtg==','approved','dm',60,61,NULL,NULL,NULL);
INSERT INTO "plexlink_attempts" VALUES('attempt-07xxxxxxxxxxxx',7,7,'Discord: member via PlexLink','linked',NULL,'2026-11-23T12:00:00.000000+00:00','2026-11-23T12:15:00.000000+00:00','2026-11-23T12:02:00.000000+00:00',NULL,NULL,NULL,NULL,'linked','dm',70,71,NULL,NULL,NULL);
INSERT INTO "plexlink_attempts" VALUES('attempt-08xxxxxxxxxxxx',8,7,'Discord: member via PlexLink','linked',NULL,'2026-11-23T12:00:00.000000+00:00','2026-11-23T12:15:00.000000+00:00','2026-11-23T12:02:00.000000+00:00',NULL,NULL,NULL,NULL,'approved','dm',80,81,NULL,NULL,NULL);
INSERT INTO "plexlink_attempts" VALUES('attempt-09xxxxxxxxxxxx',9,7,'Discord: member via PlexLink','linked','undone','2026-11-23T12:00:00.000000+00:00','2026-11-23T12:15:00.000000+00:00','2026-11-23T12:02:00.000000+00:00',NULL,NULL,NULL,NULL,'linked','dm',90,91,NULL,NULL,NULL);
INSERT INTO "plexlink_attempts" VALUES('attempt-10xxxxxxxxxxxx',7,7,'Discord: member via PlexLink','linked','replaced','2026-11-23T12:00:00.000000+00:00','2026-11-23T12:15:00.000000+00:00','2026-11-23T12:01:00.000000+00:00',NULL,NULL,NULL,NULL,'replaced','dm',70,71,NULL,NULL,NULL);
INSERT INTO "plexlink_attempts" VALUES('attempt-11xxxxxxxxxxxx',11,7,'Discord: member via PlexLink','refused','managed','2026-11-23T12:00:00.000000+00:00','2026-11-23T12:15:00.000000+00:00','2026-11-23T12:02:00.000000+00:00',NULL,NULL,NULL,NULL,'waiting','dm',110,111,NULL,NULL,NULL);
INSERT INTO "plexlink_attempts" VALUES('attempt-12xxxxxxxxxxxx',12,7,'Discord: member via PlexLink','refused','taken','2026-11-23T12:00:00.000000+00:00','2026-11-23T12:15:00.000000+00:00','2026-11-23T12:02:00.000000+00:00',NULL,NULL,NULL,NULL,'refused','dm',120,121,NULL,NULL,NULL);
INSERT INTO "plexlink_attempts" VALUES('attempt-13xxxxxxxxxxxx',13,7,'Discord: member via PlexLink','refused','revoked','2026-11-23T12:00:00.000000+00:00','2026-11-23T12:15:00.000000+00:00','2026-11-23T12:02:00.000000+00:00',NULL,NULL,NULL,NULL,'refused','dm',130,131,NULL,NULL,NULL);
INSERT INTO "plexlink_attempts" VALUES('attempt-14xxxxxxxxxxxx',14,7,'Discord: member via PlexLink','expired',NULL,'2026-11-23T12:00:00.000000+00:00','2026-11-23T12:15:00.000000+00:00','2026-11-23T12:02:00.000000+00:00',NULL,NULL,NULL,NULL,NULL,'answer',NULL,NULL,'plk1:a:eCRBtRa4YZsIpS7j3eo4NEMYkSh8tg3-p0l88EmYcB7blVFFXKgoSyriJp5iNT5BO4clLY_sJMM=',142,'2026-11-23T12:00:00.000000+00:00');
INSERT INTO "plexlink_attempts" VALUES('attempt-15xxxxxxxxxxxx',15,7,'Discord: member via PlexLink','cancelled',NULL,'2026-11-23T12:00:00.000000+00:00','2026-11-23T12:15:00.000000+00:00','2026-11-23T12:02:00.000000+00:00',NULL,NULL,NULL,NULL,'cancelled','dm',150,151,NULL,NULL,NULL);
INSERT INTO "plexlink_attempts" VALUES('attempt-16xxxxxxxxxxxx',16,7,'Discord: member via PlexLink','failed','plex_refused','2026-11-23T12:00:00.000000+00:00','2026-11-23T12:15:00.000000+00:00','2026-11-23T12:02:00.000000+00:00',NULL,NULL,NULL,NULL,'failed','dm',160,161,NULL,NULL,NULL);
INSERT INTO "plexlink_attempts" VALUES('attempt-17xxxxxxxxxxxx',17,7,'Discord: member via PlexLink','failed','plex_silent','2026-11-23T12:00:00.000000+00:00','2026-11-23T12:15:00.000000+00:00','2026-11-23T12:02:00.000000+00:00',NULL,NULL,NULL,NULL,'failed','dm',170,171,NULL,NULL,NULL);
INSERT INTO "plexlink_attempts" VALUES('attempt-18xxxxxxxxxxxx',18,7,'Discord: member via PlexLink','failed','unreadable','2026-11-23T12:00:00.000000+00:00','2026-11-23T12:15:00.000000+00:00','2026-11-23T12:02:00.000000+00:00',NULL,NULL,NULL,NULL,'failed','dm',180,181,NULL,NULL,NULL);
CREATE TABLE plexlink_keys (
	name VARCHAR(16) NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "plexlink_keys" VALUES('primary','a');
INSERT INTO "plexlink_keys" VALUES('canary','plk1:a:sumE93JA5pXbM_pjEnkHZswSlKSnUzOlWLe2YO4FXzOeYJkfPghzXgAPSg==');
INSERT INTO "plexlink_keys" VALUES('lookup','plk1:a:fVQ9x5fJLd_ugAkjfe_Vgaju8Q5HX3tZapqd8DXwg-dyjda-ihSlqcGTXKMgKODemaUKFtNcbHUL-XoW-IToLLuwnzLG0B_5uZ9uEFF3oE_juk9L1hEOU1krjVw=');
CREATE TABLE plexlink_links (
	id VARCHAR(22) NOT NULL, 
	user_id BIGINT NOT NULL, 
	attempt_id VARCHAR(22) NOT NULL, 
	account_lookup VARCHAR(64) NOT NULL, 
	account_id_envelope TEXT NOT NULL, 
	account_name_envelope TEXT NOT NULL, 
	client_identifier_envelope TEXT NOT NULL, 
	token_envelope TEXT NOT NULL, 
	linked_at VARCHAR(32) NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (user_id), 
	UNIQUE (attempt_id), 
	UNIQUE (account_lookup)
);
INSERT INTO "plexlink_links" VALUES('link-07xxxxxxxxxxxxxxx',7,'attempt-07xxxxxxxxxxxx','29178d976da1a3d4934e8d37ea1aaf264aededc80233b4f3fb455ec152c311a3','plk1:a:-od6tQ-cRAgmVvLIBi2df7nsO53fP927idpMiC8otvA=','plk1:a:gkuCBwnP1orOiyl1h8Lhl5KR-gKlkyVvbt1jleXwNGiq2_mrQDPAYA==','plk1:a:DR2JTuebFhmB--EvGoS_2hF3reeEjszZ8pcrq6V2laOzX2I3ZPrzjvhKnuXr_1Sc2DI=','plk1:a:wKF4-s4gG4g9gQjEXPl5s68c6jJWAzxzsaElQS3QtqG2qIleTMxC-Pvoiigy0ZS-mg==','2026-11-23T12:00:00.000000+00:00');
INSERT INTO "plexlink_links" VALUES('link-08xxxxxxxxxxxxxxx',8,'attempt-08xxxxxxxxxxxx','771b54b56df36621d3e9292e636459e153ccc2df7b6218cf1e3104ba69d2abe0','plk1:a:V05h32Ik50F_DZlHI26fRSY9VEsQj07IphF8py2o9HU=','plk1:a:2xa7ahtKHvg1SmHafrqnexGH_OKxxSQggLPRoRCRz8fkwCgP-TNpOA==','plk1:a:cBURa5P3jYsbgXkp_Di3fnQehxk75hQ3UZc6XDHlike6t4NeNsh8VY_w2bKhGubJBs4=','plk1:a:x1Np1-V-FaFoKn-bKJSX_LKXhf8CbjU0lF9QWl1i3zSBsBh1hSq7ChCqWh6oRK6fOg==','2026-11-23T12:00:00.000000+00:00');
CREATE TABLE plexlink_sign_outs (
	id VARCHAR(22) NOT NULL, 
	user_id BIGINT NOT NULL, 
	client_identifier_envelope TEXT NOT NULL, 
	token_envelope TEXT NOT NULL, 
	requested_at VARCHAR(32) NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "plexlink_sign_outs" VALUES('qEu-ld7Pld0Qkw5BNoYOZw',9,'plk1:a:lRwASGLSthNom1RWpJ0tIF6s0kGX0Jx7ZdfS4gI_wJe4CUK3WlruNYcBodaday3yliI=','plk1:a:ebSSqy6h04DS9p6OggvB01B7O4FSMlBSSlhDvxQTbKRJdzJNGqvQz9kpMDjUKObMRg==','2026-11-23T12:00:00.000000+00:00');
INSERT INTO "plexlink_sign_outs" VALUES('Vryyu0f8EEBKpOJRavo1Iw',12,'plk1:a:lzntQNKyET9G-F-jdk1Gja1w9DLum2yT6TaA-E1ZR04lprp9f2OFaqDXqPRN5UIKf4QQ','plk1:a:0oWQabQFOpZDPdHPPk2qKYJ2g0oDvcgYq6n3ieSIVz5pEjbntz2bE2UVAfnwAYuMfb0=','2026-11-23T12:00:00.000000+00:00');
CREATE TABLE plexlink_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT plexlink_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "plexlink_version" VALUES('0001');
CREATE INDEX plexlink_attempts_by_user ON plexlink_attempts (user_id, requested_at);
CREATE UNIQUE INDEX plexlink_attempts_one_open ON plexlink_attempts (user_id) WHERE ended_at IS NULL;
COMMIT;
