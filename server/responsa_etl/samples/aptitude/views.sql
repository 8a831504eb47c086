-- What sources may see. {list} and {entry} are the functions that make JSON arrays and objects; PostgreSQL and SQLite
-- have different names for them.

CREATE VIEW shown_person AS
SELECT id, name, address FROM person WHERE consent_on IS NOT NULL AND withdrawn_on IS NULL;

CREATE VIEW finished_sitting AS
SELECT id, person_id, test, taken_on,
       row_number() OVER (PARTITION BY person_id, test ORDER BY taken_on DESC, id DESC) AS age
FROM sitting WHERE finished = 1;

-- The results of each person's newest sitting of each test, with those of the sitting before.
CREATE VIEW newest_result AS
SELECT newest.person_id, newest.test, scale.id AS scale_id, scale.place, scale.name, scale.meaning, scale.high, scale.low,
       result.points, CASE WHEN result.points BETWEEN scale.least AND scale.most THEN 1 ELSE 0 END AS fits,
       earlier_result.points AS earlier,
       CASE WHEN result.points BETWEEN scale.least AND scale.most
           AND abs(result.points - earlier_result.points) >= scale.apart THEN 1 ELSE 0 END AS contradicts,
       (SELECT level.name FROM level WHERE level.test = scale.test AND level.least <= result.points
           ORDER BY level.least DESC LIMIT 1) AS level
FROM finished_sitting AS newest
JOIN result ON result.sitting_id = newest.id
JOIN scale ON scale.id = result.scale_id
LEFT JOIN finished_sitting AS earlier ON earlier.person_id = newest.person_id AND earlier.test = newest.test AND earlier.age = 2
LEFT JOIN result AS earlier_result ON earlier_result.sitting_id = earlier.id AND earlier_result.scale_id = scale.id
WHERE newest.age = 1;

CREATE VIEW tested_person AS
SELECT person.id AS person_id, person.name, person.address, test.test,
       (SELECT taken_on FROM finished_sitting AS one WHERE one.person_id = person.id AND one.test = test.test AND age = 1) AS taken_on,
       (SELECT taken_on FROM finished_sitting AS one WHERE one.person_id = person.id AND one.test = test.test AND age = 2) AS earlier_on,
       (SELECT max(taken_on) FROM sitting AS one WHERE one.person_id = person.id AND one.test = test.test
           AND finished = 0) AS broken_off_on,
       CASE
           WHEN NOT EXISTS (SELECT 1 FROM newest_result AS one WHERE one.person_id = person.id AND one.test = test.test) THEN 'missing'
           WHEN EXISTS (SELECT 1 FROM newest_result AS one WHERE one.person_id = person.id AND one.test = test.test
               AND fits = 0) THEN 'doubtful'
           WHEN EXISTS (SELECT 1 FROM newest_result AS one WHERE one.person_id = person.id AND one.test = test.test
               AND contradicts = 1) THEN 'contradictory'
           ELSE 'complete'
       END AS state,
       (SELECT name FROM newest_result AS one WHERE one.person_id = person.id AND one.test = test.test AND fits = 1
           ORDER BY points DESC, place LIMIT 1) AS strongest,
       coalesce((SELECT {list}({entry}('place', place, 'name', name, 'meaning', meaning, 'high', high, 'low', low,
           'points', points, 'level', level, 'fits', fits, 'earlier', earlier, 'contradicts', contradicts))
                 FROM newest_result AS one WHERE one.person_id = person.id AND one.test = test.test), '[]') AS results
FROM shown_person AS person CROSS JOIN (SELECT DISTINCT test FROM scale) AS test;

CREATE VIEW tendency AS SELECT * FROM tested_person WHERE test = 'tendency';

CREATE VIEW cognitive_ability AS SELECT * FROM tested_person WHERE test = 'ability';

CREATE VIEW asked_scale AS
SELECT job_demand.job_id, scale.id AS scale_id, scale.name, scale.place, scale.test FROM job_demand
    JOIN scale ON scale.id = job_demand.scale_id;

CREATE VIEW suggested_major AS
SELECT job_match.person_id, major.id, major.title, count(*) AS jobs, min(job_match.place) AS place
FROM job_match JOIN job_major ON job_major.job_id = job_match.job_id JOIN major ON major.id = job_major.major_id
GROUP BY job_match.person_id, major.id, major.title;

CREATE VIEW job_matching AS
SELECT person.id AS person_id, person.name, person.address,
       (SELECT max(matched_on) FROM job_match WHERE person_id = person.id) AS matched_on,
       (SELECT count(*) FROM finished_sitting AS one WHERE one.person_id = person.id AND one.test = 'tendency' AND age = 1) AS has_tendency,
       (SELECT count(*) FROM finished_sitting AS one WHERE one.person_id = person.id AND one.test = 'ability' AND age = 1) AS has_ability,
       coalesce((SELECT {list}({entry}('place', place, 'id', job.id, 'title', job.title, 'field', job.field, 'points', points))
                 FROM job_match JOIN job ON job.id = job_match.job_id WHERE person_id = person.id), '[]') AS jobs,
       coalesce((SELECT {list}({entry}('job', asked_scale.job_id, 'place', asked_scale.place, 'name', asked_scale.name,
           'points', newest_result.points))
                 FROM job_match
                 JOIN asked_scale ON asked_scale.job_id = job_match.job_id
                 JOIN newest_result ON newest_result.person_id = job_match.person_id
                     AND newest_result.scale_id = asked_scale.scale_id AND newest_result.fits = 1
                 WHERE job_match.person_id = person.id), '[]') AS asked,
       coalesce((SELECT {list}({entry}('id', id, 'title', title, 'jobs', jobs, 'place', place))
                 FROM suggested_major WHERE person_id = person.id), '[]') AS majors
FROM shown_person AS person;

CREATE VIEW job_catalogue AS
SELECT job.id, job.title, job.field, job.work, job.day,
       (SELECT {list}({entry}('place', place, 'name', name, 'test', test)) FROM asked_scale WHERE asked_scale.job_id = job.id) AS asked,
       (SELECT {list}({entry}('id', major.id, 'title', major.title))
        FROM job_major JOIN major ON major.id = job_major.major_id WHERE job_major.job_id = job.id) AS majors
FROM job;

CREATE VIEW major_catalogue AS
SELECT major.id, major.title, major.field, major.subjects, major.suits,
       (SELECT {list}({entry}('id', job.id, 'title', job.title))
        FROM job_major JOIN job ON job.id = job_major.job_id WHERE job_major.major_id = major.id) AS jobs
FROM major;
