exports.tea = 12;
