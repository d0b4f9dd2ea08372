/* The sleeper's program file as bytes of the engine. */
        .section .rodata
        .global sleeper_image
        .global sleeper_image_end
        .balign 16
sleeper_image:
        .incbin SLEEPER_PATH
sleeper_image_end:
        .byte 0
        .section .note.GNU-stack, "", %progbits
