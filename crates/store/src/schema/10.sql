-- How much a model thinks in one turn alone; and what all turns of a session cost.
ALTER TABLE turns ADD COLUMN thinking TEXT;
ALTER TABLE sessions ADD COLUMN cost INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN unpriced INTEGER NOT NULL DEFAULT 0;
UPDATE sessions SET cost = known.cost, unpriced = known.unpriced
FROM (
    SELECT session, sum(coalesce(cost, 0)) AS cost,
           sum(cost IS NULL AND usage IS NOT NULL) AS unpriced
    FROM turns GROUP BY session
) AS known
WHERE known.session = sessions.id;
