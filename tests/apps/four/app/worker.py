"""Takes work from the queue and writes it into the table; starts again from the beginning when a server goes away."""
import os
import time

import psycopg2
import redis

while True:
    try:
        queue = redis.Redis.from_url(os.environ["REDIS"])
        connection = psycopg2.connect("")
        connection.autocommit = True
        print("ready", flush=True)
        while True:
            item = queue.brpop("work", timeout=1)
            if item:
                with connection.cursor() as cursor:
                    cursor.execute("insert into done (what) values (%s)", (item[1].decode(),))
    except (redis.RedisError, psycopg2.Error) as error:
        print("again:", str(error).strip(), flush=True)
        time.sleep(0.5)
