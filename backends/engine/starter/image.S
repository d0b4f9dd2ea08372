/* The starter's program file as bytes of the engine. */
        .section .rodata
        .global starter_image
        .global starter_image_end
        .balign 16
starter_image:
        .incbin STARTER_PATH
starter_image_end:
        .byte 0
        .section .note.GNU-stack, "", %progbits
