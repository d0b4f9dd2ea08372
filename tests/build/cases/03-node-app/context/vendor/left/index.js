exports.left = (text, width) => String(text).padStart(width);
