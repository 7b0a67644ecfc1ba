-- How many requests were made to each service on each day, over all relays that share the database.
CREATE TABLE service_usage (
    service text NOT NULL,
    day date NOT NULL,
    used integer NOT NULL CHECK (used >= 0),
    PRIMARY KEY (service, day)
);
