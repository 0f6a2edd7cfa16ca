-- A database as the release before 0004 left it, with rows in every state; the key ring is a: bytes 0 to 31.
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
INSERT INTO "plexlink_attempts" VALUES('attempt-01xxxxxxxxxxxx',1,7,'Discord: member via PlexLink','requested',NULL,'2026-11-23T12:00:00.000000+00:00',NULL,NULL,'plk1:a:Ug0yvukgd5gSIpJdwk2OzdJn8khvJyXV8Koy1jdOSYq6IEXxLrjl7AGDnncycDWiybo=',NULL,NULL,NULL,NULL,NULL,NULL,NULL,'plk1:a:98nsNN-HOLUzd0xaCjLj6DtF7yIxFYpimYitZuC73fwF7W8vpCDteYsqbwbQ7mwv9R32PqhJ1Q==',12,'2026-11-23T12:00:00.000000+00:00');
INSERT INTO "plexlink_attempts" VALUES('attempt-02xxxxxxxxxxxx',2,7,'Discord: member via PlexLink','pending',NULL,'2026-11-23T12:00:00.000000+00:00','2026-11-23T12:15:00.000000+00:00',NULL,'plk1:a:cvyYsfPzCbk8e-ENKu3kFW1wYQEMtbOhqD5q1xri5Sh53tK6Jy5I0Q2rL7qIC2QLbCM=','plk1:a:tgfF6uDYlZ9ssYVf2i63jDMQNsDwip9p61wuYeXkq478Ju7YL5PETfTAUtu8FGI=','plk1:a:_P4YwlBlq_z-H0962R_oPErVC76Yt4F7jaJJENnQP5U=',NULL,'waiting','dm',20,21,'plk1:a:rHp5yvqQbEo9bKNOKBUv2PTw6bmaojIvDWl-2V5Ho4rYFbEpAp1vKdxPZwk1Btjfqtvtp5M6Ng==',22,'2026-11-23T12:00:00.000000+00:00');
INSERT INTO "plexlink_attempts" VALUES('attempt-03xxxxxxxxxxxx',3,7,'Discord: member via PlexLink','approved',NULL,'2026-11-23T12:00:00.000000+00:00',NULL,NULL,'plk1:a:Yfnn3Mr7E--jmcICljWYiKp6ZsnTj56RA8TS_xG903Y70bg81C5x9lT8YI1lLER4-b0=',NULL,NULL,'plk1:a:zJNKVqUJr97ShG481IuFS14TPp4oAROCr2tCVbKI002vxqLBXFLujhG7ONE5uBxvrg==','waiting','dm',30,31,NULL,NULL,NULL);
INSERT INTO "plexlink_attempts" VALUES('attempt-04xxxxxxxxxxxx',4,7,'Discord: member via PlexLink','approved','taken','2026-11-23T12:00:00.000000+00:00','2026-11-23T12:10:00.000000+00:00',NULL,'plk1:a:nSB3fA8BCZAeLaBoSTiqPfvxo0sRAepqmtqxmQWpKHTlhn6wXPIfO0blKNsrvFsOLl8=',NULL,NULL,'plk1:a:F3t4Vpwd2gLiQQurlpqJP3h5gvAK_o7ElOXkdAf0mx9PKGFsbAp710VLf20p1X-rfA==','contested','dm',40,41,NULL,NULL,NULL);
INSERT INTO "plexlink_attempts" VALUES('attempt-05xxxxxxxxxxxx',5,7,'Discord: member via PlexLink','linked',NULL,'2026-11-23T12:00:00.000000+00:00',NULL,'2026-11-23T12:02:00.000000+00:00',NULL,NULL,NULL,NULL,'linked','dm',50,51,NULL,NULL,NULL);
INSERT INTO "plexlink_attempts" VALUES('attempt-06xxxxxxxxxxxx',6,7,'Discord: member via PlexLink','linked','undone','2026-11-23T12:00:00.000000+00:00',NULL,'2026-11-23T12:02:00.000000+00:00',NULL,NULL,NULL,NULL,'undone',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "plexlink_attempts" VALUES('attempt-07xxxxxxxxxxxx',7,7,'Discord: member via PlexLink','refused','managed','2026-11-23T12:00:00.000000+00:00',NULL,'2026-11-23T12:02:00.000000+00:00',NULL,NULL,NULL,NULL,'waiting','dm',70,71,NULL,NULL,NULL);
INSERT INTO "plexlink_attempts" VALUES('attempt-08xxxxxxxxxxxx',8,7,'Discord: member via PlexLink','expired',NULL,'2026-11-23T12:00:00.000000+00:00',NULL,'2026-11-23T12:02:00.000000+00:00',NULL,NULL,NULL,NULL,NULL,'answer',NULL,NULL,'plk1:a:hBOxZRlHaF7Ed676FhO2nw5-2Y2QdZLap1pSOjgZ5jPxUa5UPtmEaVWlsghTaberGWOVhL6VyA==',82,'2026-11-23T12:00:00.000000+00:00');
INSERT INTO "plexlink_attempts" VALUES('attempt-09xxxxxxxxxxxx',9,7,'Discord: member via PlexLink','cancelled',NULL,'2026-11-23T12:00:00.000000+00:00',NULL,'2026-11-23T12:02:00.000000+00:00',NULL,NULL,NULL,NULL,'cancelled','dm',90,91,NULL,NULL,NULL);
INSERT INTO "plexlink_attempts" VALUES('attempt-10xxxxxxxxxxxx',10,7,'Discord: member via PlexLink','failed','plex_refused','2026-11-23T12:00:00.000000+00:00',NULL,'2026-11-23T12:02:00.000000+00:00',NULL,NULL,NULL,NULL,'failed','dm',100,101,NULL,NULL,NULL);
INSERT INTO "plexlink_attempts" VALUES('attempt-11xxxxxxxxxxxx',11,7,'Discord: member via PlexLink','linked',NULL,'2026-11-23T12:00:00.000000+00:00',NULL,'2026-11-23T12:02:00.000000+00:00',NULL,NULL,NULL,NULL,'linked','dm',110,111,NULL,NULL,NULL);
CREATE TABLE plexlink_audit (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at VARCHAR(32) NOT NULL, 
	actor_id BIGINT, 
	deed VARCHAR(16) NOT NULL, 
	user_id BIGINT NOT NULL, 
	detail VARCHAR(32)
);
INSERT INTO "plexlink_audit" VALUES(1,'2026-11-23T12:00:00.000000+00:00',5,'linked',5,NULL);
INSERT INTO "plexlink_audit" VALUES(2,'2026-11-23T12:00:00.000000+00:00',5,'used',5,'watchlist');
CREATE TABLE plexlink_keys (
	name VARCHAR(16) NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "plexlink_keys" VALUES('primary','a');
INSERT INTO "plexlink_keys" VALUES('canary','plk1:a:gzt217BYZfSrWDQI2V1O9LyZilHBJYWyNGuYWQUcZgKvuXnFmpTtWO_X7A==');
INSERT INTO "plexlink_keys" VALUES('lookup','plk1:a:xgqcid1OPoBQC3TSoM82JXlBzMuO-EEV-yeesCNinLyZ2cFDp933HoWPsJS9xVAVB18Vb4PDz37xifaoM-hm_Kt7T82GhH3H4uArUX_jVNuxKDIwf2MZ3dCxYbQ=');
CREATE TABLE plexlink_leftovers (
	id VARCHAR(22) NOT NULL, 
	user_id BIGINT NOT NULL, 
	client_identifier_envelope TEXT NOT NULL, 
	pin_id_envelope TEXT NOT NULL, 
	deadline_at VARCHAR(32) NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "plexlink_leftovers" VALUES('attempt-09xxxxxxxxxxxx',9,'plk1:a:rfCKo2o-fHHs8v6ayQ5GKkkP0GhVhXubrQbdJp8xPq5kAkLyhGnlT3FCH0Z9c9eEXsQ=','plk1:a:Rl1ZVVFnD3XSZUsc9t3ZJB1GLHKZNL-Q1lSGQm4cgcCe4zt77rgxX4yMtHz57HE=','2026-11-23T12:15:00.000000+00:00');
CREATE TABLE plexlink_links (
	id VARCHAR(22) NOT NULL, 
	user_id BIGINT NOT NULL, 
	attempt_id VARCHAR(22) NOT NULL, 
	account_lookup VARCHAR(64) NOT NULL, 
	account_id_envelope TEXT NOT NULL, 
	account_name_envelope TEXT NOT NULL, 
	client_identifier_envelope TEXT NOT NULL, 
	token_envelope TEXT NOT NULL, 
	linked_at VARCHAR(32) NOT NULL, verdict VARCHAR(16) DEFAULT 'alive' NOT NULL, finding VARCHAR(16), checked_at VARCHAR(32), rejected_at VARCHAR(32), next_check_at VARCHAR(32), told_at VARCHAR(32), is_held BOOLEAN DEFAULT 0 NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (user_id), 
	UNIQUE (attempt_id), 
	UNIQUE (account_lookup)
);
INSERT INTO "plexlink_links" VALUES('link-5',5,'attempt-05xxxxxxxxxxxx','7754da24798049255abd9f0191bbc18facf8ac7c9819a6fe07bd68d1c317fe97','plk1:a:OZwa-Dljy8np7cntZ4i7VZXFDR7bjDyHUMVQp6bxcKM=','plk1:a:0nsx7OAYliKWcSa5jWDEmeNQLrlLm4ILM-TMw8lJ01mHNXpBYQ==','plk1:a:hoTDt6mdajDeLWZgyBaxoCMoedqqE7IMRZfPqdjfI6pUFPqIbo_k_7Dr4xuu-2iXJLw=','plk1:a:dFz-76MvXzeuZX0U-ex8EUVGpWCsZdbaLYghepl74_fHgnvOO51MR38g9kG1N_6_IQ==','2026-11-23T12:00:00.000000+00:00','alive',NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO "plexlink_links" VALUES('link-11',11,'attempt-11xxxxxxxxxxxx','74f9eb0352d06edd569237b89c7f32de65131a774bf4eda4410c9146738f46bb','plk1:a:P1uLlR6Rj4HXFGTVPxVeyWUsfF0YdbdYrwCWqN6wnzc=','plk1:a:w1vgmh3TuyB8G5BbcS6fEBuXLDvmp5FI1w4NwuXufL1NoES6dKI=','plk1:a:p155bjWiCXTQ9gxrt1S9VbImYhVZBEAyvoXC_qh9d9JW2_zrylCqnIz3u9bfnchpJIf6','plk1:a:lvVdwk5g03Ndq7ooIiHjBLBfaakkI6_U72DY801Mq81AInqKwu1cIhj5NU14LYEpdrY=','2026-11-23T12:00:00.000000+00:00','dead','rejected','2026-11-23T12:00:00.000000+00:00','2026-11-23T10:00:00.000000+00:00',NULL,'2026-11-23T12:00:00.000000+00:00',0);
CREATE TABLE plexlink_news (
	id VARCHAR(22) NOT NULL, 
	user_id BIGINT NOT NULL, 
	topic VARCHAR(16) NOT NULL, 
	at VARCHAR(32) NOT NULL, 
	is_held BOOLEAN DEFAULT 0 NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "plexlink_news" VALUES('I1ZUXrVKqz4tPOW5hHtX0g',20,'link_dead','2026-11-23T12:00:00.000000+00:00',0);
INSERT INTO "plexlink_news" VALUES('n03r-2_28kSW2a5Rtpa4uA',21,'link_moved','2026-11-23T12:00:00.000000+00:00',0);
INSERT INTO "plexlink_news" VALUES('qbnjpxJ-18uhBc-LawZNLA',22,'signed_out','2026-11-23T12:00:00.000000+00:00',0);
INSERT INTO "plexlink_news" VALUES('dbHPr95rKPf0z8VIXzoSIA',23,'not_signed_out','2026-11-23T12:00:00.000000+00:00',0);
INSERT INTO "plexlink_news" VALUES('N-AqVh4EmJ_2QmCM5yDLzQ',11,'link_dead','2026-11-23T12:00:00.000000+00:00',1);
CREATE TABLE plexlink_reports (
	id VARCHAR(22) NOT NULL, 
	user_id BIGINT NOT NULL, 
	reason VARCHAR(16) NOT NULL, 
	phase VARCHAR(16) NOT NULL, 
	requested_at VARCHAR(32) NOT NULL, 
	shown VARCHAR(16), 
	lane VARCHAR(8), 
	channel_id BIGINT, 
	message_id BIGINT, 
	answer_token_envelope TEXT, 
	answer_message_id BIGINT, 
	answer_at VARCHAR(32), 
	PRIMARY KEY (id)
);
INSERT INTO "plexlink_reports" VALUES('iedlXXLkrjvQVJza16VsDw',6,'undone','signing_out','2026-11-23T12:00:00.000000+00:00',NULL,'dm',60,61,NULL,NULL,NULL);
INSERT INTO "plexlink_reports" VALUES('report-12',12,'unlinked','delayed','2026-11-23T12:00:00.000000+00:00','delayed','answer',NULL,NULL,'plk1:a:HWKRxJeFCUsRicBuhYisyTzkCBarF57wogY8nQTwRJhNalNNAa215bO-5G3Ft8BGkHAL1Yvq2lo=',122,'2026-11-23T12:00:00.000000+00:00');
INSERT INTO "plexlink_reports" VALUES('report-13',13,'forgotten','signed_out','2026-11-23T12:00:00.000000+00:00',NULL,'dm',130,131,NULL,NULL,NULL);
CREATE TABLE plexlink_sign_outs (
	id VARCHAR(22) NOT NULL, 
	user_id BIGINT NOT NULL, 
	client_identifier_envelope TEXT NOT NULL, 
	token_envelope TEXT NOT NULL, 
	requested_at VARCHAR(32) NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "plexlink_sign_outs" VALUES('iedlXXLkrjvQVJza16VsDw',6,'plk1:a:fitov2T5KWzql0f6l5-8fe-UZUx2iOljS-4wJRbQCj6yaPvUsLoC3IDNXCiRKWr3b8Q=','plk1:a:YeZkNDUntswIzd00jZWgAs4iXRhELzGNQZHyzhGpl7D03S9BS_swx-0chsfzeXPioQ==','2026-11-23T12:00:00.000000+00:00');
CREATE TABLE plexlink_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT plexlink_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "plexlink_version" VALUES('0003');
CREATE INDEX plexlink_attempts_by_user ON plexlink_attempts (user_id, requested_at);
CREATE UNIQUE INDEX plexlink_attempts_one_open ON plexlink_attempts (user_id) WHERE ended_at IS NULL;
CREATE INDEX plexlink_links_by_next_check ON plexlink_links (next_check_at);
CREATE INDEX plexlink_news_by_user ON plexlink_news (user_id);
CREATE INDEX plexlink_audit_by_user ON plexlink_audit (user_id, id);
CREATE INDEX plexlink_audit_by_time ON plexlink_audit (at);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('plexlink_audit',2);
COMMIT;
