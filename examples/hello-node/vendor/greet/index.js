'use strict';

module.exports = (who) => `Hello from ${who}`;
