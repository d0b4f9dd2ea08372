src/vendor/one/a.c
