src / core / main.c
