-- No column has a type that only one database knows.

CREATE TABLE person (id integer PRIMARY KEY, name varchar(100) NOT NULL, address varchar(100) NOT NULL UNIQUE,
    born integer NOT NULL, stage varchar(20) NOT NULL, consent_on date, withdrawn_on date);
CREATE TABLE scale (id varchar(30) PRIMARY KEY, test varchar(20) NOT NULL, place integer NOT NULL,
    name varchar(50) NOT NULL, meaning varchar(200) NOT NULL, high varchar(300) NOT NULL, low varchar(300) NOT NULL,
    least integer NOT NULL, most integer NOT NULL, apart integer NOT NULL);
CREATE TABLE level (test varchar(20) NOT NULL, least integer NOT NULL, name varchar(20) NOT NULL, PRIMARY KEY (test, least));
CREATE TABLE sitting (id integer PRIMARY KEY, person_id integer NOT NULL REFERENCES person (id),
    test varchar(20) NOT NULL, taken_on date NOT NULL, finished integer NOT NULL);
CREATE TABLE result (sitting_id integer NOT NULL REFERENCES sitting (id),
    scale_id varchar(30) NOT NULL REFERENCES scale (id), points integer NOT NULL, PRIMARY KEY (sitting_id, scale_id));
CREATE TABLE major (id varchar(50) PRIMARY KEY, title varchar(100) NOT NULL, field varchar(100) NOT NULL,
    subjects varchar(1000) NOT NULL, suits varchar(500) NOT NULL);
CREATE TABLE job (id varchar(50) PRIMARY KEY, title varchar(100) NOT NULL, field varchar(100) NOT NULL,
    work varchar(1000) NOT NULL, day varchar(500) NOT NULL);
CREATE TABLE job_demand (job_id varchar(50) NOT NULL REFERENCES job (id),
    scale_id varchar(30) NOT NULL REFERENCES scale (id), PRIMARY KEY (job_id, scale_id));
CREATE TABLE job_major (job_id varchar(50) NOT NULL REFERENCES job (id),
    major_id varchar(50) NOT NULL REFERENCES major (id), PRIMARY KEY (job_id, major_id));
CREATE TABLE job_match (person_id integer NOT NULL REFERENCES person (id),
    job_id varchar(50) NOT NULL REFERENCES job (id), place integer NOT NULL, points integer NOT NULL,
    matched_on date NOT NULL, PRIMARY KEY (person_id, place));
CREATE INDEX sitting_of_person ON sitting (person_id, test);
