src/gone.c
