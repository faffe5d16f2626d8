local prices = require("prices")

function order(item)
    return app.mail.send("shop", item .. " for " .. prices[item])
end

function clock()
    return os.time() > 0 and "it is later than 1970" or "it is early"
end
