src/core/main.c
